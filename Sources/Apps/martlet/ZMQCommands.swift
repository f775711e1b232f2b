import MartletZMQ

/// `martlet zmq ROLE …` as typed: one socket, its endpoints, and what goes through it.
struct ZMQOptions: Sendable {
    let role: String
    let bind: [String]
    let connect: [String]
    /// What is subscribed to, or goes in front of each message.
    let topics: [String]
    let text: String?
    let countMax: Int?
    /// How long a first message waits for somebody who wants it, or a reply may take.
    let patience: Duration?
    let socket: ZMQSocketOptions

    static let options: [Command.Option] =
        [
            .many("--bind", value: "URL", about: "wait for peers there: tcp://*:5555, ipc:///PATH, ipc://@NAME, ws://*:80/PATH, wss://…, udp://…"),
            .many("--connect", value: "URL", about: "connect, as soon as somebody is there"),
            .many("--topic", value: "PREFIX", about: "sub: what to subscribe to (default: everything); pub: a first frame for each message"),
            .one("-m", value: "TEXT", about: "the message, instead of stdin's lines; frames are separated by tabs, in lines too"),
            .one("-n", "--count", value: "COUNT", about: "end after COUNT messages; with -m, send it COUNT times"),
            .one("-W", "--wait", value: "SECONDS", about: "req: give up after so long; pub: wait so long for the first subscriber (default: 1)"),
            .one("--routing-id", value: "ID", about: "what a ROUTER calls us"),
            .one("--hwm", value: "COUNT", about: "high-water mark in both directions (default: 1000; 0: none)"),
        ] + ZMQSecurityArguments.options

    init(_ role: String, _ arguments: Arguments) throws(CommandFailure) {
        self.role = role
        bind = arguments.texts("--bind")
        connect = arguments.texts("--connect")
        guard !bind.isEmpty || !connect.isEmpty else { throw .usage("zmq \(role): say where: --bind URL or --connect URL") }
        try Self.check(bind + connect, "zmq \(role)")
        topics = arguments.texts("--topic")
        if topics.isEmpty, role == "radio" || role == "dish" { throw .usage("zmq \(role): say which groups: --topic GROUP, as often as there are") }
        text = arguments.text("-m")
        countMax = try arguments.integer("-n", in: 1...(1 << 40))
        patience = try arguments.seconds("-W").map { .seconds($0) }
        var socket = ZMQSocketOptions()
        if let mark = try arguments.integer("--hwm", in: 0...(1 << 30)) { (socket.sendHighWaterMark, socket.receiveHighWaterMark) = (mark, mark) }
        if let id = arguments.text("--routing-id") {
            guard (1...255).contains(id.utf8.count), id.utf8.first != 0 else { throw .usage("zmq \(role): --routing-id has 1 to 255 bytes") }
            socket.routingID = Array(id.utf8)
        }
        // What was sent is to arrive: the command ends after it, or by a second signal.
        socket.linger = .seconds(3_600)
        try ZMQSecurityArguments.apply(arguments, "zmq \(role)", bound: bind, to: &socket)
        self.socket = socket
    }

    static func check(_ endpoints: [String], _ command: String) throws(CommandFailure) {
        for text in endpoints {
            do throws(ZMQError) { _ = try ZMQEndpoint(text) } catch { throw .usage("\(command): \(error)") }
        }
    }
}

/// `martlet zmq …`: a socket between stdin and stdout. A message is a line, with tabs between its frames.
enum ZMQCommands {
    static let req = command(
        "req", "send requests and print their replies", ("martlet zmq req --connect tcp://127.0.0.1:5555 -m ping", "one request"))
    static let rep = command(
        "rep", "print requests, and answer with -m, or with stdin's lines, or with what was asked",
        ("martlet zmq rep --bind tcp://*:5555 -m pong", "the same answer to all"))
    static let pub = command(
        "pub", "send each line to all who want it",
        ("martlet zmq pub --bind tcp://*:5556 --topic weather -m sunny", "once, to whoever subscribes within a second"))
    static let sub = command(
        "sub", "print what is published", ("martlet zmq sub --connect tcp://127.0.0.1:5556 --topic weather", "what begins with weather"))
    static let push = command(
        "push", "send each line to one of those who pull, in turn", ("seq 100 | martlet zmq push --bind tcp://*:5557", "a ventilator"))
    static let pull = command("pull", "print what is pushed", ("martlet zmq pull --connect tcp://127.0.0.1:5557 -n 10", "ten of them"))
    static let pair = command("pair", "stdin to one peer, and the peer to stdout", ("martlet zmq pair --bind ipc://@talk", "the one end"))
    static let dealer = command(
        "dealer", "stdin to peers in turn, and what they send to stdout",
        ("martlet zmq dealer --connect tcp://127.0.0.1:5555", "to a REP a line begins with a tab: the empty frame"))
    static let router = command(
        "router", "print messages behind their peer's routing id, and send lines that begin with one",
        ("martlet zmq router --bind tcp://*:5555", "dealers that name themselves can be written to"))
    static let xpub = command(
        "xpub", "as pub, and print the subscriptions", ("martlet zmq xpub --bind tcp://*:5556", "a byte, 1 or 0, and a prefix"))
    static let xsub = command(
        "xsub", "as sub, and send stdin to the publishers", ("martlet zmq xsub --connect tcp://127.0.0.1:5556", "everything that is published"))

    static let stream = command(
        "stream", "talk with plain TCP peers: each line begins with a peer's routing id in hexadecimal",
        ("martlet zmq stream --bind tcp://*:5000 -m welcome", "to all who come; a line of an id alone ends that connection"))
    static let client = command(
        "client", "send each line to one of the servers, in turn, and print what they send",
        ("martlet zmq client --connect tcp://127.0.0.1:5555", "RFC 41: one frame a message, in any order"))
    static let server = command(
        "server", "print messages behind their client's number, and send lines that begin with one",
        ("martlet zmq server --bind tcp://*:5555 -m pong", "the same answer to all"))
    static let radio = command(
        "radio", "send each line to groups (--topic)", ("martlet zmq radio --bind tcp://*:5556 --topic news -m hello", "once, to whoever joins within a second")
    )
    static let dish = command(
        "dish", "print what is sent to groups (--topic), behind their names", ("martlet zmq dish --connect tcp://127.0.0.1:5556 --topic news", "RFC 48"))

    private static func command(_ role: String, _ summary: String, _ example: (line: String, about: String)) -> Command {
        Command(
            path: ["zmq", role], summary: summary, options: ZMQOptions.options, examples: [example],
            run: { arguments throws(CommandFailure) in ZMQRun.run(try ZMQOptions(role, arguments)) })
    }
}
