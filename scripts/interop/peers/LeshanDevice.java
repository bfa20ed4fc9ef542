// A device built on Leshan's client library, driven by lines on stdin, telling what happens to it in lines on stdout.
//   LeshanDevice ENDPOINT SERVER_URI LIFETIME_S [psk IDENTITY KEY_HEX [CID_LENGTH] | ecdhe-psk IDENTITY KEY_HEX |
//     rpk PUBLIC_HEX PRIVATE_HEX SERVER_PUBLIC_HEX [CID_LENGTH] | x509 CERTIFICATE_HEX PRIVATE_HEX SERVER_CERTIFICATE_HEX [CID_LENGTH] |
//     oscore|rederive SENDER_HEX RECIPIENT_HEX SECRET_HEX]
//     "rederive": OSCORE that begins with Appendix B.2
//   stdin: "set RESOURCE NUMBER" (of /3303/0) | "update" | "send PATH" | "stop"
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.californium.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.client.californium.endpoint.coap.CoapOscoreProtocolProvider;
import org.eclipse.leshan.client.californium.endpoint.coaps.CoapsClientProtocolProvider;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Oscore;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.client.send.ManualDataSender;
import org.eclipse.leshan.core.CertificateUsage;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.ResourceModel.Operations;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.oscore.OscoreSetting;
import org.eclipse.leshan.core.request.BindingMode;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;
import org.eclipse.leshan.core.util.Hex;

public class LeshanDevice {
    public static void main(String[] args) throws Exception {
        String endpoint = args[0];
        String uri = args[1];
        long lifetime = Long.parseLong(args[2]);
        String mode = args.length > 3 ? args[3] : "nosec";

        List<ObjectModel> models = ObjectLoader.loadDefault();
        models.add(temperatureModel());
        ObjectsInitializer objects = new ObjectsInitializer(new StaticModel(models));
        Thermometer thermometer = new Thermometer();
        switch (mode) {
        case "psk":
        case "ecdhe-psk":
            objects.setInstancesForObject(0, Security.psk(uri, 123, args[4].getBytes(), hex(args[5])));
            break;
        case "rpk":
            objects.setInstancesForObject(0, Security.rpk(uri, 123, hex(args[4]), hex(args[5]), hex(args[6])));
            break;
        case "x509": // usage 3: the server shows this certificate itself
            objects.setInstancesForObject(0, Security.x509(uri, 123, hex(args[4]), hex(args[5]), hex(args[6]),
                    CertificateUsage.DOMAIN_ISSUER_CERTIFICATE.code));
            break;
        case "oscore":
        case "rederive":
            objects.setInstancesForObject(21, new Oscore(7, new OscoreSetting(hex(args[4]), hex(args[5]), hex(args[6]))));
            objects.setInstancesForObject(0, Security.oscoreOnly(uri, 123, 7));
            break;
        default:
            objects.setInstancesForObject(0, Security.noSec(uri, 123));
        }
        objects.setInstancesForObject(1, new Server(123, lifetime, EnumSet.of(BindingMode.U), false, BindingMode.U));
        objects.setInstancesForObject(3, new Device());
        objects.setInstancesForObject(3303, thermometer);

        LeshanClientBuilder builder = new LeshanClientBuilder(endpoint);
        builder.setObjects(objects.createAll());
        builder.setDataSenders(new ManualDataSender());
        builder.setRegistrationEngineFactory(new DefaultRegistrationEngineFactory().setRetryWaitingTimeInMs(1000));
        CaliforniumClientEndpointsProvider.Builder endpoints = new CaliforniumClientEndpointsProvider.Builder(
                mode.equals("rederive") ? new Rederivation.Client() : new CoapOscoreProtocolProvider(),
                new CoapsClientProtocolProvider());
        int last = mode.equals("psk") ? 6 : mode.equals("rpk") || mode.equals("x509") ? 7 : args.length;
        if (args.length > last) {
            Configuration configuration = endpoints.createDefaultConfiguration();
            configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, Integer.parseInt(args[last]));
            endpoints.setConfiguration(configuration);
        }
        if (mode.equals("ecdhe-psk")) {
            Configuration configuration = endpoints.createDefaultConfiguration();
            configuration.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
            configuration.setAsList(DtlsConfig.DTLS_CIPHER_SUITES,
                    CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256);
            endpoints.setConfiguration(configuration);
        }
        builder.setEndpointsProviders(endpoints.build());
        LeshanClient client = builder.build();
        client.addObserver(new Teller());
        client.start();

        Scanner lines = new Scanner(System.in);
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().trim().split(" ");
            switch (words[0]) {
            case "set":
                thermometer.change(Integer.parseInt(words[1]), Double.parseDouble(words[2]));
                break;
            case "update":
                client.triggerRegistrationUpdate();
                break;
            case "send":
                LwM2mServer server = client.getRegisteredServers().values().iterator().next();
                tell("sent " + client.getSendService()
                        .sendData(server, ContentFormat.SENML_CBOR, List.of(words[1]), 5000).getCode().getCode());
                break;
            case "stop":
                client.destroy(true);
                System.exit(0);
            default:
                tell("unknown " + words[0]);
            }
        }
        client.destroy(true);
        System.exit(0);
    }

    static synchronized void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static byte[] hex(String text) {
        return Hex.decodeHex(text.toCharArray());
    }

    private static ObjectModel temperatureModel() {
        return new ObjectModel(3303, "Temperature", "", "1.0", true, false,
                new ResourceModel(5700, "Sensor Value", Operations.R, false, true, Type.FLOAT, "", "", ""),
                new ResourceModel(5701, "Sensor Units", Operations.R, false, false, Type.STRING, "", "", ""),
                new ResourceModel(5605, "Reset Min and Max", Operations.E, false, false, Type.NONE, "", "", ""));
    }

    /** Says how registration went. */
    private static class Teller extends LwM2mClientObserverAdapter {
        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String id) {
            tell("registered " + id);
        }

        @Override
        public void onRegistrationFailure(LwM2mServer server, RegisterRequest request, ResponseCode code, String why,
                Exception cause) {
            tell("failed register " + code + " " + why + " " + cause);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            tell("failed register timeout");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            tell("updated");
        }

        @Override
        public void onUpdateFailure(LwM2mServer server, UpdateRequest request, ResponseCode code, String why,
                Exception cause) {
            tell("failed update " + code + " " + why);
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
            tell("deregistered");
        }

        @Override
        public void onDeregistrationFailure(LwM2mServer server, DeregisterRequest request, ResponseCode code,
                String why, Exception cause) {
            tell("failed deregister " + code + " " + why);
        }
    }

    /** Object 3 with one string that can be written and one resource that can be executed. */
    public static class Device extends BaseInstanceEnabler {
        private String offset = "+00:00";

        @Override
        public ReadResponse read(LwM2mServer server, int resource) {
            switch (resource) {
            case 0:
                return ReadResponse.success(resource, "Leshan");
            case 9:
                return ReadResponse.success(resource, 87);
            case 11:
                return ReadResponse.success(resource, Map.of(0, 0L), Type.INTEGER);
            case 14:
                return ReadResponse.success(resource, offset);
            case 16:
                return ReadResponse.success(resource, "U");
            default:
                return super.read(server, resource);
            }
        }

        @Override
        public WriteResponse write(LwM2mServer server, boolean replace, int resource, LwM2mResource value) {
            if (resource != 14) return super.write(server, replace, resource, value);
            offset = (String) value.getValue();
            tell("written /3/0/14 " + offset);
            return WriteResponse.success();
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
            if (resource != 4) return super.execute(server, resource, arguments);
            tell("executed /3/0/4 " + (arguments == null ? "" : arguments.serialize()));
            return ExecuteResponse.success();
        }

        @Override
        public List<Integer> getAvailableResourceIds(ObjectModel model) {
            return List.of(0, 4, 9, 11, 14, 16);
        }
    }

    /** Object 3303 whose value the driver sets. */
    public static class Thermometer extends BaseInstanceEnabler {
        private double celsius = 20.5;

        void change(int resource, double value) {
            celsius = value;
            fireResourceChange(resource);
        }

        @Override
        public ReadResponse read(LwM2mServer server, int resource) {
            if (resource == 5700) return ReadResponse.success(resource, celsius);
            if (resource == 5701) return ReadResponse.success(resource, "Cel");
            return super.read(server, resource);
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
            if (resource != 5605) return super.execute(server, resource, arguments);
            tell("executed /3303/0/5605 " + (arguments == null ? "" : arguments.serialize()));
            return ExecuteResponse.success();
        }

        @Override
        public List<Integer> getAvailableResourceIds(ObjectModel model) {
            return List.of(5700, 5701, 5605);
        }
    }
}
