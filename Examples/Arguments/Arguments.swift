@preconcurrency import Glibc

/// The place that an example is about: `--host HOST --port PORT`, by default the course's 127.0.0.1:65432.
public enum Arguments {
    public static var place: String {
        setvbuf(stdout, nil, _IOLBF, 0)  // what is printed is seen at once, also in a pipe
        let host = value(of: "--host") ?? "127.0.0.1"
        return (host.contains(":") ? "[\(host)]" : host) + ":" + (value(of: "--port") ?? "65432")
    }

    /// The server of RabbitMQ's tutorials: `--host HOST --port PORT`, by default localhost:5672.
    public static var amqp: String {
        let host = value(of: "--host") ?? "localhost"
        return "amqp://" + (host.contains(":") ? "[\(host)]" : host) + ":" + (value(of: "--port") ?? "5672")
    }

    /// Where a service over HTTP is: `--host HOST --port PORT`, by default the course's 127.0.0.1:8000.
    public static var http: String {
        setvbuf(stdout, nil, _IOLBF, 0)
        let host = value(of: "--host") ?? "127.0.0.1"
        return "http://" + (host.contains(":") ? "[\(host)]" : host) + ":" + (value(of: "--port") ?? "8000")
    }

    /// Where the chat is: `--host HOST --port PORT`, by default the course's localhost:8765.
    public static var chat: String {
        setvbuf(stdout, nil, _IOLBF, 0)
        let host = value(of: "--host") ?? "localhost"
        return "http://" + (host.contains(":") ? "[\(host)]" : host) + ":" + (value(of: "--port") ?? "8765")
    }

    /// Where a ZeroMQ socket is: `--host HOST --port PORT`, by default 127.0.0.1 and the program's own port. A program's further ports follow its first,
    /// as 5691 does 5690.
    public static func zmq(_ port: Int, first: Int? = nil) -> String {
        let host = value(of: "--host") ?? "127.0.0.1"
        let chosen = value(of: "--port").flatMap { Int($0) }.map { $0 + port - (first ?? port) } ?? port
        return "tcp://" + (host.contains(":") ? "[\(host)]" : host) + ":\(chosen)"
    }

    /// Cancels a server when Ctrl-C or SIGTERM asks the program to end, so that it ends in good order; the second time the program ends at once.
    /// Once in a program.
    public static func cancelWhenAsked(_ server: Task<Void, any Error>) {
        // A handler may do next to nothing: it wakes a thread. The signals cannot be kept for that thread, since the main thread takes them while it waits.
        sem_init(asked, 0, 0)
        let box = Unmanaged.passRetained(Server(task: server)).toOpaque()
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { box in
                let server = Unmanaged<Server>.fromOpaque(box!).takeRetainedValue()
                while true {
                    while sem_wait(asked) != 0 {}
                    if server.task.isCancelled { exit(1) }
                    server.task.cancel()
                }
            }, box)
        for number in [SIGINT, SIGTERM] { signal(number) { _ in sem_post(asked) } }
    }

    private final class Server {
        let task: Task<Void, any Error>
        init(task: Task<Void, any Error>) { self.task = task }
    }

    /// What the first word names; without one of these names the program ends and says them.
    public static func role<Role>(_ roles: KeyValuePairs<String, Role>) -> Role {
        setvbuf(stdout, nil, _IOLBF, 0)
        if let role = roles.first(where: { $0.key == allWords.first }) { return role.value }
        fputs("say one of: \(roles.map(\.key).joined(separator: ", "))\n", stderr)
        exit(64)
    }

    /// Ends the program with what `result` failed with.
    public static func fail(_ result: Result<Void, any Error>) -> Never {
        if case .failure(let error) = result { fputs("\(error)\n", stderr) }
        exit(1)
    }

    /// The words behind the first, without options and their values.
    public static var words: [String] { Array(allWords.dropFirst()) }

    /// The same; without any the program ends and says its `usage`.
    public static func words(usage: String) -> [String] {
        if !words.isEmpty { return words }
        fputs("usage: \(usage)\n", stderr)
        exit(64)
    }

    private static var allWords: [String] {
        var words: [String] = [], rest = CommandLine.arguments.dropFirst()
        while let word = rest.popFirst() {
            if ["--host", "--port", "--timeout", "--heartbeat"].contains(word) { _ = rest.popFirst() } else { words.append(word) }
        }
        return words
    }

    /// The word after an option.
    public static func value(of name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}

/// Raised by each signal. A handler of signals can hold nothing and may call little: `sem_post` is of that, and several threads may use a semaphore.
private nonisolated(unsafe) let asked = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
