// A CoAP server on Californium over DTLS 1.2 with PSK and Connection ID, for `godwit bench dtls`: every identity has the one key.
//   CaliforniumDtls PORT KEY_HEX
//   stdin: anything ends it, and so does its end
import java.net.InetSocketAddress;
import javax.crypto.SecretKey;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.StringUtil;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.ConnectionId;
import org.eclipse.californium.scandium.dtls.HandshakeResultHandler;
import org.eclipse.californium.scandium.dtls.PskPublicInformation;
import org.eclipse.californium.scandium.dtls.PskSecretResult;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedPskStore;
import org.eclipse.californium.scandium.util.SecretUtil;
import org.eclipse.californium.scandium.util.ServerNames;

public class CaliforniumDtls {
    public static void main(String[] args) throws Exception {
        CoapConfig.register();
        DtlsConfig.register();
        Configuration settings = new Configuration();
        settings.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, 4);
        settings.setAsList(DtlsConfig.DTLS_CIPHER_SUITES, CipherSuite.TLS_PSK_WITH_AES_128_CCM_8);
        byte[] key = StringUtil.hex2ByteArray(args[1]);
        DtlsConnectorConfig.Builder dtls = DtlsConnectorConfig.builder(settings)
                .setAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])))
                .setAdvancedPskStore(new AdvancedPskStore() {
                    @Override
                    public boolean hasEcdhePskSupported() {
                        return false;
                    }

                    @Override
                    public PskSecretResult requestPskSecretResult(ConnectionId cid, ServerNames names,
                            PskPublicInformation identity, String hmac, SecretKey other, byte[] seed, boolean extended) {
                        return new PskSecretResult(cid, identity, SecretUtil.create(key, "PSK"));
                    }

                    @Override
                    public PskPublicInformation getIdentity(InetSocketAddress peer, ServerNames host) {
                        return null;
                    }

                    @Override
                    public void setResultHandler(HandshakeResultHandler handler) {
                    }
                });
        CoapServer server = new CoapServer(settings);
        server.addEndpoint(CoapEndpoint.builder().setConfiguration(settings)
                .setConnector(new DTLSConnector(dtls.build())).build());
        server.add(new CoapResource("hello") {
            @Override
            public void handleGET(CoapExchange exchange) {
                exchange.respond("world");
            }
        });
        server.start();
        System.out.println("listening");
        System.in.read();
        System.exit(0);
    }
}
