import MartletTLS

/// The flags about TLS of `martlet mqtt …` and `martlet amqp …`, named as mosquitto's. Any of them asks for it.
enum TLSFlags {
    static let options = options(key: "--key")
    /// A routing key has the name `--key` there.
    static let amqp = options(key: "--tls-key")

    private static func options(key: String) -> [Command.Option] {
        [
            .one("--cafile", value: "FILE", about: "TLS: trust the authorities in this PEM file, not the system's"),
            .one("--capath", value: "DIRECTORY", about: "TLS: trust those in this directory (openssl rehash)"),
            .flag("--tls-use-os-certs", about: "TLS: trust the system's authorities (the default)"),
            .one("--cert", value: "FILE", about: "TLS: our certificate, PEM; needs \(key)"),
            .one(key, value: "FILE", about: "TLS: its key, PEM, not encrypted"),
            .flag("--insecure", about: "TLS: take a certificate for any host; without --cafile and --capath any at all"),
            .one("--tls-version", value: "VERSION", about: "TLS: tlsv1.2 or tlsv1.3 alone (default: the newest that both know)"),
            .one("--tls-alpn", value: "NAME", about: "TLS: the application protocol to ask for (ALPN)"),
        ]
    }

    /// `isAsked`: by the URL or the port. `nil`: nobody asks for TLS.
    static func parse(_ arguments: Arguments, of options: [Command.Option] = options, isAsked: Bool) throws(CommandFailure) -> TLSClientOptions? {
        guard isAsked || options.contains(where: { arguments.has($0.names[0]) }) else { return nil }
        let keyFlag = options.contains { $0.names == ["--tls-key"] } ? "--tls-key" : "--key"
        if let url = arguments.text("-L"), !isAsked {
            throw .usage("-L \(url) is without TLS: write \(url.hasPrefix("ws") ? "wss" : "mqtts")://, or leave out the flags about TLS")
        }
        var tls = TLSClientOptions()
        let file = arguments.text("--cafile"), directory = arguments.text("--capath")
        if file != nil, directory != nil { throw .usage("--cafile and --capath: one of them says whom to trust") }
        if let file { tls.trust = .file(file) }
        if let directory { tls.trust = .directory(directory) }
        if arguments.has("--insecure") {
            tls.checksServerName = false
            if file == nil, directory == nil, !arguments.has("--tls-use-os-certs") { tls.trust = .none }
        }
        switch (arguments.text("--cert"), arguments.text(keyFlag)) {
        case (let certificate?, let key?): tls.identity = TLSIdentity(certificate: certificate, key: key)
        case (nil, nil): break
        case (_?, nil): throw .usage("--cert needs its \(keyFlag)")
        case (nil, _?): throw .usage("\(keyFlag) needs its --cert")
        }
        switch arguments.text("--tls-version") {
        case nil: break
        case "tlsv1.2"?: (tls.minimumVersion, tls.maximumVersion) = (.tls12, .tls12)
        case "tlsv1.3"?: (tls.minimumVersion, tls.maximumVersion) = (.tls13, .tls13)
        case let other?: throw .usage("--tls-version \(other): the versions are tlsv1.2 and tlsv1.3")
        }
        tls.applicationProtocols = arguments.text("--tls-alpn").map { [$0] } ?? []
        return tls
    }
}
