import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;

/** A MongoDB-protocol server for the tests: {@code java -cp 'JARS/*' MongoServer.java PORT FILE}. */
public class MongoServer {
    /** The driver refuses the wire versions that the library knows by itself. */
    record Version(List<Integer> getVersionArray, int getWireVersion) implements MongoVersion {}

    /**
     * Writes to the file before it answers: H2 alone does so about once a second, and a kill would lose that much.
     * One message at a time: two that make the same collection at once would lose the documents of one of them.
     */
    static class DurableBackend extends H2Backend {
        DurableBackend(String file) { super(file); }

        @Override public synchronized Document handleMessage(MongoMessage message) {
            Document answer = super.handleMessage(message);
            commit();
            return answer;
        }
    }

    public static void main(String[] args) {
        var backend = new DurableBackend(args[1]);
        backend.version(new Version(List.of(7, 0, 0), 21));
        var server = new de.bwaldvogel.mongo.MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(args[0]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
    }
}
