// A server built on Leshan's server library, driven by lines on stdin, telling what happens in lines on stdout.
//   LeshanServer COAP_PORT [COAPS_PORT] [psk ENDPOINT IDENTITY KEY_HEX [CID_LENGTH] | ecdhe-psk ENDPOINT IDENTITY KEY_HEX |
//     rpk ENDPOINT PUBLIC_HEX OWN_PUBLIC_HEX OWN_PRIVATE_HEX [CID_LENGTH] |
//     x509 ENDPOINT OWN_PRIVATE_HEX OWN_CHAIN_FILE ROOTS_FILE [CID_LENGTH] |
//     oscore|rederive ENDPOINT SENDER_HEX RECIPIENT_HEX SECRET_HEX]
//     "rederive": OSCORE that takes part in Appendix B.2
//   stdin: "read EP PATH" | "write EP FORMAT PATH VALUE" | "execute EP PATH [ARGS]" | "discover EP PATH" |
//          "observe EP PATH" | "cancel EP PATH" | "stop"
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Scanner;
import java.util.stream.Collectors;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.ResourceModel.Operations;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.node.LwM2mNode;
import org.eclipse.leshan.core.node.LwM2mObject;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.observation.CompositeObservation;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.oscore.OscoreSetting;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DiscoverRequest;
import org.eclipse.leshan.core.request.DownlinkRequest;
import org.eclipse.leshan.core.request.ExecuteRequest;
import org.eclipse.leshan.core.request.ObserveRequest;
import org.eclipse.leshan.core.request.ReadRequest;
import org.eclipse.leshan.core.request.SendRequest;
import org.eclipse.leshan.core.request.WriteRequest;
import org.eclipse.leshan.core.response.DiscoverResponse;
import org.eclipse.leshan.core.response.LwM2mResponse;
import org.eclipse.leshan.core.response.ObserveCompositeResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.node.TimestampedLwM2mNodes;
import org.eclipse.leshan.core.util.Hex;
import org.eclipse.leshan.server.LeshanServerBuilder;
import org.eclipse.leshan.server.californium.endpoint.CaliforniumServerEndpointsProvider;
import org.eclipse.leshan.server.californium.endpoint.coap.CoapOscoreServerEndpointFactory;
import org.eclipse.leshan.server.californium.endpoint.coap.CoapServerProtocolProvider;
import org.eclipse.leshan.server.californium.endpoint.coaps.CoapsServerProtocolProvider;
import org.eclipse.leshan.server.model.VersionedModelProvider;
import org.eclipse.leshan.server.observation.ObservationListener;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.server.registration.RegistrationListener;
import org.eclipse.leshan.server.registration.RegistrationUpdate;
import org.eclipse.leshan.server.security.InMemorySecurityStore;
import org.eclipse.leshan.server.security.SecurityInfo;
import org.eclipse.leshan.server.send.SendListener;

public class LeshanServer {
    public static void main(String[] args) throws Exception {
        int coap = Integer.parseInt(args[0]);
        int at = 1;
        int coaps = -1;
        if (args.length > 1 && args[1].matches("[0-9]+")) {
            coaps = Integer.parseInt(args[1]);
            at = 2;
        }
        InMemorySecurityStore security = new InMemorySecurityStore();
        boolean oscore = false;
        LeshanServerBuilder builder = new LeshanServerBuilder();
        if (args.length > at) {
            String endpoint = args[at + 1];
            if (args[at].equals("rpk")) {
                builder.setPublicKey(publicKey(args[at + 3]));
                builder.setPrivateKey(privateKey(args[at + 4]));
                security.add(SecurityInfo.newRawPublicKeyInfo(endpoint, publicKey(args[at + 2])));
            } else if (args[at].equals("x509")) {
                builder.setPrivateKey(privateKey(args[at + 2]));
                builder.setCertificateChain(certificates(args[at + 3]));
                builder.setTrustedCertificates(certificates(args[at + 4]));
                security.add(SecurityInfo.newX509CertInfo(endpoint));
            } else if (args[at].endsWith("psk")) {
                security.add(SecurityInfo.newPreSharedKeyInfo(endpoint, args[at + 2], hex(args[at + 3])));
            } else {
                oscore = true;
                security.add(SecurityInfo.newOscoreInfo(endpoint,
                        new OscoreSetting(hex(args[at + 2]), hex(args[at + 3]), hex(args[at + 4]))));
            }
        }

        List<ObjectModel> models = ObjectLoader.loadAllDefault();
        models.add(temperatureModel("1.0"));
        models.add(temperatureModel("1.1"));
        CaliforniumServerEndpointsProvider.Builder endpoints = new CaliforniumServerEndpointsProvider.Builder(
                new CoapServerProtocolProvider(), new CoapsServerProtocolProvider());
        int last = args.length <= at ? args.length
                : args[at].equals("psk") ? at + 4 : args[at].matches("rpk|x509") ? at + 5 : args.length;
        if (args.length > last) {
            int length = Integer.parseInt(args[last]);
            endpoints.setConfiguration(settings -> settings.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, length));
        }
        if (args.length > at && args[at].equals("ecdhe-psk")) {
            endpoints.setConfiguration(settings -> {
                settings.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
                settings.setAsList(DtlsConfig.DTLS_CIPHER_SUITES,
                        CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256);
            });
        }
        InetSocketAddress here = new InetSocketAddress("127.0.0.1", coap);
        if (oscore) {
            URI uri = new URI("coap", null, "127.0.0.1", coap, null, null, null);
            endpoints.addEndpoint(args[at].equals("rederive") ? new Rederivation.Server(uri)
                    : new CoapOscoreServerEndpointFactory(uri));
        } else {
            endpoints.addEndpoint(here, Protocol.COAP);
        }
        if (coaps >= 0) endpoints.addEndpoint(new InetSocketAddress("127.0.0.1", coaps), Protocol.COAPS);

        builder.setSecurityStore(security);
        builder.setObjectModelProvider(new VersionedModelProvider(models));
        builder.setEndpointsProviders(endpoints.build());
        org.eclipse.leshan.server.LeshanServer server = builder.build();
        Teller teller = new Teller();
        server.getRegistrationService().addListener(teller);
        server.getObservationService().addListener(teller);
        server.getSendService().addListener(teller);
        server.start();
        tell("listening " + coap);

        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            String line = lines.nextLine().trim();
            if (line.equals("stop")) break;
            try {
                obey(server, line.split(" "));
            } catch (Exception failure) {
                tell("answer error " + failure);
            }
        }
        server.destroy();
        System.exit(0);
    }

    private static void obey(org.eclipse.leshan.server.LeshanServer server, String[] words) throws Exception {
        Registration device = server.getRegistrationService().getByEndpoint(words[1]);
        if (device == null) {
            tell("answer error not registered");
            return;
        }
        switch (words[0]) {
        case "read":
            answer(server, device, new ReadRequest(words[2]));
            break;
        case "write":
            LwM2mPath path = new LwM2mPath(words[3]);
            ContentFormat format = ContentFormat.fromName(words[2]);
            WriteRequest write = words[4].matches("[0-9]+")
                    ? new WriteRequest(format, path.getObjectId(), path.getObjectInstanceId(), path.getResourceId(),
                            Long.parseLong(words[4]))
                    : new WriteRequest(format, path.getObjectId(), path.getObjectInstanceId(), path.getResourceId(),
                            words[4]);
            answer(server, device, write);
            break;
        case "execute":
            answer(server, device,
                    words.length > 3 ? new ExecuteRequest(words[2], words[3]) : new ExecuteRequest(words[2]));
            break;
        case "discover":
            answer(server, device, new DiscoverRequest(words[2]));
            break;
        case "observe":
            answer(server, device, new ObserveRequest(words[2]));
            break;
        case "cancel":
            tell("answer cancelled " + server.getObservationService().cancelObservations(device, words[2]));
            break;
        default:
            tell("answer error unknown command");
        }
    }

    private static <T extends LwM2mResponse> void answer(org.eclipse.leshan.server.LeshanServer server,
            Registration device, DownlinkRequest<T> request) throws InterruptedException {
        T response = server.send(device, request, 20000);
        if (response == null) {
            tell("answer timeout");
            return;
        }
        String what = "";
        if (response.isFailure()) what = String.valueOf(response.getErrorMessage());
        else if (response instanceof ReadResponse) what = show(((ReadResponse) response).getContent());
        else if (response instanceof DiscoverResponse)
            what = Arrays.stream(((DiscoverResponse) response).getObjectLinks()).map(Object::toString)
                    .collect(Collectors.joining(","));
        tell("answer " + response.getCode().getCode() + " " + what);
    }

    private static String show(LwM2mNode node) {
        if (node instanceof LwM2mObject)
            return ((LwM2mObject) node).getInstances().values().stream().map(i -> i.getId() + ":" + show(i))
                    .collect(Collectors.joining(" "));
        if (node instanceof LwM2mObjectInstance)
            return ((LwM2mObjectInstance) node).getResources().values().stream().map(r -> r.getId() + "=" + show(r))
                    .collect(Collectors.joining(";"));
        LwM2mResource resource = (LwM2mResource) node;
        return resource.isMultiInstances() ? resource.getInstances().toString() : resource.getValue().toString();
    }

    static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static byte[] hex(String text) {
        return Hex.decodeHex(text.toCharArray());
    }

    private static PublicKey publicKey(String spki) throws Exception {
        return KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(hex(spki)));
    }

    private static PrivateKey privateKey(String pkcs8) throws Exception {
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(hex(pkcs8)));
    }

    private static X509Certificate[] certificates(String file) throws Exception {
        try (InputStream bytes = new FileInputStream(file)) {
            return CertificateFactory.getInstance("X.509").generateCertificates(bytes)
                    .toArray(new X509Certificate[0]);
        }
    }

    private static ObjectModel temperatureModel(String version) {
        return new ObjectModel(3303, "Temperature", "", version, true, false,
                new ResourceModel(5700, "Sensor Value", Operations.R, false, true, Type.FLOAT, "", "", ""),
                new ResourceModel(5701, "Sensor Units", Operations.R, false, false, Type.STRING, "", "", ""));
    }

    /** Says what devices do. */
    private static class Teller implements RegistrationListener, ObservationListener, SendListener {
        @Override
        public void registered(Registration now, Registration before, Collection<Observation> observations) {
            tell("registered " + now.getEndpoint() + " lwm2m=" + now.getLwM2mVersion() + " lt="
                    + now.getLifeTimeInSec() + " " + Arrays.stream(now.getSortedObjectLinks()).map(Object::toString)
                            .collect(Collectors.joining(",")));
        }

        @Override
        public void updated(RegistrationUpdate update, Registration now, Registration before) {
            tell("updated " + now.getEndpoint() + " lt=" + now.getLifeTimeInSec());
        }

        @Override
        public void unregistered(Registration before, Collection<Observation> observations, boolean expired,
                Registration next) {
            tell("unregistered " + before.getEndpoint() + (expired ? " expired" : " left"));
        }

        @Override
        public void newObservation(Observation observation, Registration device) {
        }

        @Override
        public void cancelled(Observation observation) {
        }

        @Override
        public void onResponse(SingleObservation observation, Registration device, ObserveResponse response) {
            tell("notified " + observation.getPath() + " " + show(response.getContent()));
        }

        @Override
        public void onResponse(CompositeObservation observation, Registration device,
                ObserveCompositeResponse response) {
            tell("notified " + response.getContent());
        }

        @Override
        public void onError(Observation observation, Registration device, Exception failure) {
            tell("failed notification " + failure);
        }

        @Override
        public void dataReceived(Registration device, TimestampedLwM2mNodes data, SendRequest request) {
            tell("received " + device.getEndpoint() + " " + data);
        }

        @Override
        public void onError(Registration device, String why, Exception failure) {
            tell("failed send " + why);
        }
    }
}
