import MartletSockets
import MartletTLS

/// The TLS flags of `martlet tcp …` and its bench: a client's, and a server's.
enum TLSArguments {
    static let client: [Command.Option] = [
        .flag("--tls", about: "speak TLS; each of the flags below says so too"),
        .one("--cafile", value: "FILE", about: "trust these authorities (PEM) instead of the system's"),
        .one("--cert", value: "FILE", about: "this side's certificate (PEM), with --key"),
        .one("--key", value: "FILE", about: "its private key (PEM)"),
        .flag("--insecure", about: "believe any certificate: for tests alone"),
        .one("--server-name", value: "NAME", about: "ask for this name, and expect it in the certificate (default: HOST)"),
        .many("--alpn", value: "NAME[,NAME]", about: "application protocols to offer, the best first, such as h2,http/1.1"),
    ]

    /// A client's where the URL says whether TLS is spoken, and the protocol above it is known.
    static let clientOfURL = client.filter { !["--tls", "--alpn"].contains($0.names[0]) }

    static let server: [Command.Option] = [
        .one("--tls-cert", value: "FILE", about: "speak TLS with this certificate (PEM), and --tls-key"),
        .one("--tls-key", value: "FILE", about: "its private key (PEM)"),
        .many("--alpn", value: "NAME[,NAME]", about: "application protocols to take, the best first"),
    ]

    /// Nil without a flag that asks for TLS.
    static func clientOptions(_ arguments: Arguments, for place: Place? = nil) throws(CommandFailure) -> TLSClientOptions? {
        guard client.contains(where: { arguments.has($0.names[0]) }) else { return nil }
        if let place, case .unix = place { throw .usage("\(place): TLS goes with HOST:PORT") }
        if arguments.has("--insecure"), arguments.has("--cafile") { throw .usage("--insecure believes everybody: leave it out, or --cafile") }
        var options = TLSClientOptions()
        if let file = arguments.text("--cafile") { options.trust = .file(file) }
        if arguments.has("--insecure") { options.trust = .none }
        options.identity = try identity(arguments, "--cert", "--key")
        options.serverName = arguments.text("--server-name")
        options.applicationProtocols = applicationProtocols(arguments)
        return options
    }

    static func serverOptions(_ arguments: Arguments, for place: Place) throws(CommandFailure) -> TLSServerOptions? {
        guard let identity = try identity(arguments, "--tls-cert", "--tls-key") else {
            if arguments.has("--alpn") { throw .usage("--alpn needs TLS: give --tls-cert and --tls-key too") }
            return nil
        }
        if case .unix = place { throw .usage("\(place): TLS goes with HOST:PORT") }
        var options = TLSServerOptions(identity: identity)
        options.applicationProtocols = applicationProtocols(arguments)
        return options
    }

    static func identity(_ arguments: Arguments, _ certificate: String, _ key: String) throws(CommandFailure) -> TLSIdentity? {
        switch (arguments.text(certificate), arguments.text(key)) {
        case (nil, nil): return nil
        case (let certificateFile?, let keyFile?): return TLSIdentity(certificate: certificateFile, key: keyFile)
        case (_, nil): throw .usage("\(certificate) needs \(key), the certificate's private key")
        case (nil, _): throw .usage("\(key) needs \(certificate), the certificate to the key")
        }
    }

    private static func applicationProtocols(_ arguments: Arguments) -> [String] {
        arguments.texts("--alpn").flatMap { $0.split(separator: ",").map(String.init) }
    }
}
