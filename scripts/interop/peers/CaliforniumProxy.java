// A proxy built on Californium, in front of one server: it knows nothing of OSCORE, and cuts what it passes on, both ways, into
// blocks (RFC 8613 4.1.3.4.2).
//   CaliforniumProxy PORT SERVER_PORT BLOCK_SIZE
import java.net.InetSocketAddress;
import java.util.Scanner;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.coap.CoAP.ResponseCode;
import org.eclipse.californium.core.coap.MessageObserverAdapter;
import org.eclipse.californium.core.coap.OptionSet;
import org.eclipse.californium.core.coap.Request;
import org.eclipse.californium.core.coap.Response;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.network.Exchange;
import org.eclipse.californium.core.server.MessageDeliverer;
import org.eclipse.californium.elements.AddressEndpointContext;
import org.eclipse.californium.elements.config.Configuration;

public class CaliforniumProxy {
    public static void main(String[] args) throws Exception {
        CoapConfig.register();
        int block = Integer.parseInt(args[2]);
        Configuration configuration = Configuration.createStandardWithoutFile();
        configuration.set(CoapConfig.PREFERRED_BLOCK_SIZE, block);
        configuration.set(CoapConfig.MAX_MESSAGE_SIZE, block);
        InetSocketAddress behind = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1]));
        CoapEndpoint outward = endpoint(configuration, 0);
        outward.start();
        CoapServer server = new CoapServer(configuration);
        server.addEndpoint(endpoint(configuration, Integer.parseInt(args[0])));
        server.setMessageDeliverer(new MessageDeliverer() {
            @Override
            public void deliverRequest(Exchange exchange) {
                Request asked = exchange.getRequest();
                Request passed = new Request(asked.getCode());
                passed.setDestinationContext(new AddressEndpointContext(behind));
                passed.setOptions(withoutBlocks(asked.getOptions()));
                passed.setPayload(asked.getPayload());
                passed.addMessageObserver(new MessageObserverAdapter() {
                    @Override
                    public void onResponse(Response answer) {
                        Response back = new Response(answer.getCode());
                        back.setOptions(withoutBlocks(answer.getOptions()));
                        back.setPayload(answer.getPayload());
                        exchange.sendResponse(back);
                        tell("passed " + asked.getPayloadSize() + " " + answer.getPayloadSize());
                    }

                    @Override
                    protected void failed() {
                        exchange.sendResponse(new Response(ResponseCode.GATEWAY_TIMEOUT));
                        tell("failed");
                    }
                });
                outward.sendRequest(passed);
            }

            @Override
            public void deliverResponse(Exchange exchange, Response response) {
            }
        });
        server.start();
        tell("listening " + args[0]);
        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) lines.nextLine();
        System.exit(0);
    }

    private static CoapEndpoint endpoint(Configuration configuration, int port) {
        return new CoapEndpoint.Builder().setConfiguration(configuration)
                .setInetSocketAddress(new InetSocketAddress("127.0.0.1", port)).build();
    }

    /** They are of one hop. */
    private static OptionSet withoutBlocks(OptionSet options) {
        OptionSet rest = new OptionSet(options);
        rest.removeBlock1();
        rest.removeBlock2();
        rest.removeSize1();
        rest.removeSize2();
        return rest;
    }

    static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
