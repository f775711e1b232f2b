import MartletBytes
import MartletEventLoop
import MartletLogging
import MartletNet
import MartletShard
import Synchronization

/// `martlet serve`: loops with a shard each, listeners, and the end in good order.
///
/// Accepted connections go round the loops in turn. Not here: settings (`ServerConfiguration`), protocols (gateways).
public enum Server {
    /// Runs until SIGINT or SIGTERM; SIGHUP has the certificates read again. Answers the exit code: 0, or when it could not start 77 if this
    /// user may not, else 1 (the sentence is on stderr).
    public static func run(_ configuration: ServerConfiguration) -> Int32 {
        ProcessSetup.prepare()
        ProcessSetup.keepHangup()
        let log = Logger(label: "serve", level: configuration.logLevel)
        let running: RunningServer
        do {
            running = try RunningServer(configuration, log: log)
        } catch {
            StandardStream.error.write("martlet: \(error)\n")
            return error.isForbidden ? 77 : 1
        }
        for line in running.listening { StandardStream.error.write("listening \(line)\n") }
        StandardStream.error.write("storage: \(configuration.storage)\nmemory: \(configuration.memoryNotice)\n")
        let control = running.openControl(log: log)
        StandardStream.error.write("ready\n")
        ProcessSetup.onHangup { running.reloadCertificates() }
        _ = ProcessSetup.nextTermination()
        // A second signal ends at once.
        ProcessSetup.onTermination { _ in ProcessSetup.exit(1) }
        control?.stop()
        running.stop(grace: configuration.grace)
        return 0
    }
}
