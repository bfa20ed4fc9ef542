// A CoAP client or server built on Californium with its OSCORE, driven by lines on stdin, telling what happens in lines on stdout.
//   CaliforniumOscore client SENDER_HEX RECIPIENT_HEX SECRET_HEX SALT_HEX ID_CONTEXT_HEX|-
//     stdin: "blocks SIZE" | "get URI" | "put URI FILE" | "observe URI COUNT" | "lose" (all but the credential: Appendix B.2 follows)
//   CaliforniumOscore server PORT SENDER_HEX RECIPIENT_HEX SECRET_HEX SALT_HEX ID_CONTEXT_HEX|-
//     stdin: "lose" (all but the credential: Appendix B.2 follows, begun by the server) | "forget" (the same, and does not know it)
//     /hello, /clock (observable, each 200 ms), /large (3000 bytes), /echo (PUT, GET), /separate (after 1.5 s)
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Scanner;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapHandler;
import org.eclipse.californium.core.CoapObserveRelation;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.coap.CoAP.Code;
import org.eclipse.californium.core.coap.CoAP.ResponseCode;
import org.eclipse.californium.core.coap.CoAP.Type;
import org.eclipse.californium.core.coap.Request;
import org.eclipse.californium.core.coap.Response;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.observe.NotificationListener;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.cose.AlgorithmID;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.Bytes;
import org.eclipse.californium.elements.util.StringUtil;
import org.eclipse.californium.oscore.ContextRederivation.PHASE;
import org.eclipse.californium.oscore.HashMapCtxDB;
import org.eclipse.californium.oscore.OSCoreCoapStackFactory;
import org.eclipse.californium.oscore.OSCoreCtx;
import org.eclipse.californium.oscore.OSCoreResource;

public class CaliforniumOscore {
    private static final int TIMEOUT = 20_000;
    private static final int REPLAY_WINDOW = 32;
    private static final int MAX_UNFRAGMENTED_SIZE = 4096;

    private static final HashMapCtxDB contexts = new HashMapCtxDB();
    private static byte[][] credential;

    public static void main(String[] args) throws Exception {
        CoapConfig.register();
        boolean serves = args[0].equals("server");
        int first = serves ? 2 : 1;
        credential = new byte[5][];
        for (int i = 0; i < 5; i++) credential[i] = hex(args[first + i]);
        Scanner lines = new Scanner(System.in);
        if (serves) serve(Integer.parseInt(args[1]), lines);
        else ask(lines);
        System.exit(0);
    }

    private static OSCoreCtx context(PHASE phase) throws Exception {
        OSCoreCtx context = new OSCoreCtx(credential[2], true, AlgorithmID.AES_CCM_16_64_128, credential[0],
                credential[1], AlgorithmID.HKDF_HMAC_SHA_256, REPLAY_WINDOW, credential[3], credential[4],
                MAX_UNFRAGMENTED_SIZE);
        context.setContextRederivationEnabled(true);
        context.setContextRederivationPhase(phase);
        return context;
    }

    private static CoapEndpoint endpoint(InetSocketAddress here, Integer block) {
        Configuration configuration = Configuration.createStandardWithoutFile();
        if (block != null) {
            configuration.set(CoapConfig.PREFERRED_BLOCK_SIZE, block);
            configuration.set(CoapConfig.MAX_MESSAGE_SIZE, block);
        }
        return new CoapEndpoint.Builder().setConfiguration(configuration).setInetSocketAddress(here)
                .setCustomCoapStackArgument(contexts).setCoapStackFactory(new OSCoreCoapStackFactory()).build();
    }

    // ── client ──

    private static void ask(Scanner lines) throws Exception {
        PHASE phase = PHASE.INACTIVE;
        Integer block = null;
        CoapEndpoint endpoint = null;
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().trim().split(" ");
            if (words[0].equals("blocks")) {
                block = Integer.valueOf(words[1]);
                continue;
            }
            if (words[0].equals("lose")) {
                contexts.purge();
                phase = PHASE.CLIENT_INITIATE;
                continue;
            }
            if (endpoint == null) {
                endpoint = endpoint(new InetSocketAddress("127.0.0.1", 0), block);
                endpoint.start();
            }
            URI uri = new URI(words[1]);
            String server = "coap://" + uri.getAuthority();
            if (contexts.getContext(server) == null) contexts.addContext(server, context(phase));
            CoapClient client = new CoapClient(words[1]);
            client.setEndpoint(endpoint);
            client.setTimeout((long) TIMEOUT);
            switch (words[0]) {
            case "get":
                Request get = under(new Request(Code.GET));
                if (block != null) get.getOptions().setBlock2(31 - Integer.numberOfLeadingZeros(block) - 4, false, 0);
                answer(client.advanced(get));
                break;
            case "put":
                Request put = under(new Request(Code.PUT));
                put.setPayload(Files.readAllBytes(Path.of(words[2])));
                answer(client.advanced(put));
                break;
            case "observe":
                observe(client, endpoint, Integer.parseInt(words[2]));
                break;
            default:
                tell("unknown " + words[0]);
            }
        }
    }

    private static Request under(Request request) {
        request.getOptions().setOscore(Bytes.EMPTY);
        return request;
    }

    private static void answer(CoapResponse response) {
        if (response == null) tell("answer none");
        else tell("answer " + response.getCode() + " " + StringUtil.byteArray2Hex(response.getPayload()));
    }

    /**
     * Its relation tells the first only: it puts notifications into order by the Observe value inside, which is empty in
     * all of them (RFC 8613 4.1.3.5.2). Its endpoint tells the rest.
     */
    private static void observe(CoapClient client, CoapEndpoint endpoint, int count) throws Exception {
        BlockingQueue<CoapResponse> first = new LinkedBlockingQueue<>();
        BlockingQueue<Response> rest = new LinkedBlockingQueue<>();
        NotificationListener listener = (request, response) -> rest.add(response);
        endpoint.addNotificationListener(listener);
        Request request = under(new Request(Code.GET));
        request.setObserve();
        CoapObserveRelation relation = client.observe(request, new CoapHandler() {
            @Override
            public void onLoad(CoapResponse response) {
                first.add(response);
            }

            @Override
            public void onError() {
                tell("failed");
            }
        });
        for (int i = 0; i < count; i++) {
            CoapResponse begun = i == 0 ? first.poll(TIMEOUT, TimeUnit.MILLISECONDS) : null;
            Response response = i == 0 ? (begun == null ? null : begun.advanced())
                    : rest.poll(TIMEOUT, TimeUnit.MILLISECONDS);
            if (response == null) {
                tell("answer none");
                return;
            }
            tell("notified " + response.getCode() + " " + StringUtil.byteArray2Hex(response.getPayload()));
        }
        relation.proactiveCancel();
        Thread.sleep(200); // for the answer, of which it does not tell
        endpoint.removeNotificationListener(listener);
        tell("answer observed");
    }

    // ── server ──

    private static void serve(int port, Scanner lines) throws Exception {
        contexts.addContext(context(PHASE.INACTIVE));
        CoapServer server = new CoapServer(Configuration.createStandardWithoutFile());
        server.addEndpoint(endpoint(new InetSocketAddress("127.0.0.1", port), null));
        ScheduledExecutorService timers = Executors.newSingleThreadScheduledExecutor();
        Clock clock = new Clock();
        server.add(new Hello(), clock, new Large(), new Echo(), new Separate(timers));
        server.start();
        timers.scheduleAtFixedRate(clock::tick, 200, 200, TimeUnit.MILLISECONDS);
        tell("listening " + port);
        while (lines.hasNextLine()) {
            String word = lines.nextLine().trim();
            if (!word.equals("lose") && !word.equals("forget")) {
                tell("unknown " + word);
                continue;
            }
            contexts.purge();
            contexts.addContext(context(word.equals("lose") ? PHASE.SERVER_INITIATE : PHASE.INACTIVE));
            tell("lost");
        }
    }

    private static class Hello extends OSCoreResource {
        Hello() {
            super("hello", true);
        }

        @Override
        public void handleGET(CoapExchange exchange) {
            tell("asked /hello");
            exchange.respond(ResponseCode.CONTENT, "hello");
        }
    }

    /** No OSCoreResource: that forgets after the first response that the request was protected, and refuses the rest. */
    private static class Clock extends CoapResource {
        private int ticks = 0;

        Clock() {
            super("clock");
            setObservable(true);
            setObserveType(Type.NON);
            getAttributes().setObservable();
        }

        void tick() {
            ticks++;
            changed();
        }

        @Override
        public void handleGET(CoapExchange exchange) {
            exchange.respond(ResponseCode.CONTENT, Integer.toString(ticks));
        }
    }

    private static class Large extends OSCoreResource {
        private final byte[] body = new byte[3000];

        Large() {
            super("large", true);
            for (int i = 0; i < body.length; i++) body[i] = (byte) ('a' + i % 26);
        }

        @Override
        public void handleGET(CoapExchange exchange) {
            exchange.respond(ResponseCode.CONTENT, body);
        }
    }

    private static class Echo extends OSCoreResource {
        private byte[] kept = new byte[0];

        Echo() {
            super("echo", true);
        }

        @Override
        public void handlePUT(CoapExchange exchange) {
            kept = exchange.getRequestPayload();
            exchange.respond(ResponseCode.CHANGED);
        }

        @Override
        public void handleGET(CoapExchange exchange) {
            exchange.respond(ResponseCode.CONTENT, kept);
        }
    }

    private static class Separate extends OSCoreResource {
        private final ScheduledExecutorService timers;

        Separate(ScheduledExecutorService timers) {
            super("separate", true);
            this.timers = timers;
        }

        @Override
        public void handleGET(CoapExchange exchange) {
            exchange.accept();
            timers.schedule(() -> exchange.respond(ResponseCode.CONTENT, "late"), 1500, TimeUnit.MILLISECONDS);
        }
    }

    static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static byte[] hex(String text) {
        return text.equals("-") ? null : StringUtil.hex2ByteArray(text);
    }
}
