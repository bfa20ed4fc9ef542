// Appendix B.2 of RFC 8613 for Leshan: Californium's OSCORE has it, and this version of Leshan leaves it off. Its store of
// contexts throws at an ID Context it does not know, which request 1 has, and no client of it begins. Both are made good here.
import java.net.InetSocketAddress;
import java.net.URI;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.cose.AlgorithmID;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.oscore.ContextRederivation.PHASE;
import org.eclipse.californium.oscore.OSCoreCoapStackFactory;
import org.eclipse.californium.oscore.OSCoreCtx;
import org.eclipse.leshan.client.californium.endpoint.CaliforniumClientEndpointFactory;
import org.eclipse.leshan.client.californium.endpoint.coap.CoapOscoreClientEndpointFactory;
import org.eclipse.leshan.client.californium.endpoint.coap.CoapOscoreProtocolProvider;
import org.eclipse.leshan.client.servers.ServerInfo;
import org.eclipse.leshan.core.californium.oscore.cf.InMemoryOscoreContextDB;
import org.eclipse.leshan.core.californium.oscore.cf.OscoreParameters;
import org.eclipse.leshan.core.californium.oscore.cf.OscoreStore;
import org.eclipse.leshan.core.californium.oscore.cf.StaticOscoreStore;
import org.eclipse.leshan.core.oscore.OscoreSetting;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.californium.LwM2mOscoreStore;
import org.eclipse.leshan.server.californium.endpoint.coap.CoapOscoreServerEndpointFactory;
import org.eclipse.leshan.server.observation.LwM2mNotificationReceiver;

class Rederivation {
    private static class Contexts extends InMemoryOscoreContextDB {
        private final boolean begins;

        Contexts(OscoreStore store, boolean begins) {
            super(store);
            this.begins = begins;
        }

        /** By the recipient alone: Californium looks at the ID Context itself. */
        @Override
        public synchronized OSCoreCtx getContext(byte[] recipient, byte[] idContext) {
            return getContext(recipient);
        }

        @Override
        public synchronized OSCoreCtx getContext(byte[] recipient) {
            OSCoreCtx context = super.getContext(recipient);
            if (begins && context != null && context.getIdContext() == null)
                context.setContextRederivationPhase(PHASE.CLIENT_INITIATE);
            return context;
        }
    }

    static class Client extends CoapOscoreProtocolProvider {
        @Override
        public CaliforniumClientEndpointFactory createDefaultEndpointFactory() {
            return new CoapOscoreClientEndpointFactory() {
                @Override
                protected CoapEndpoint.Builder createEndpointBuilder(InetSocketAddress here, ServerInfo server,
                        Configuration configuration) {
                    OscoreSetting setting = server.oscoreSetting;
                    byte[] salt = setting.getMasterSalt().length == 0 ? null : setting.getMasterSalt();
                    Contexts contexts = new Contexts(new StaticOscoreStore(new OscoreParameters(setting.getSenderId(),
                            setting.getRecipientId(), setting.getMasterSecret(), AlgorithmID.AES_CCM_16_64_128,
                            AlgorithmID.HKDF_HMAC_SHA_256, salt)), true);
                    return super.createEndpointBuilder(here, server, configuration)
                            .setCustomCoapStackArgument(contexts)
                            .setCoapStackFactory(new OSCoreCoapStackFactory());
                }
            };
        }
    }

    static class Server extends CoapOscoreServerEndpointFactory {
        Server(URI uri) {
            super(uri);
        }

        @Override
        protected CoapEndpoint.Builder createEndpointBuilder(InetSocketAddress here, Configuration configuration,
                LwM2mNotificationReceiver receiver, LeshanServer server) {
            Contexts contexts = new Contexts(
                    new LwM2mOscoreStore(server.getSecurityStore(), server.getRegistrationStore()), false);
            return super.createEndpointBuilder(here, configuration, receiver, server)
                    .setCustomCoapStackArgument(contexts).setCoapStackFactory(new OSCoreCoapStackFactory());
        }
    }
}
