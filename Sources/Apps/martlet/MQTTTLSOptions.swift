import MartletMQTT

/// The flags about TLS, named as mosquitto's. Any of them asks for it.
enum MQTTTLSOptions {
    static let options: [Command.Option] = [
        .one("--cafile", value: "FILE", about: "TLS: trust the authorities in this PEM file, not the system's"),
        .one("--capath", value: "DIRECTORY", about: "TLS: trust those in this directory (openssl rehash)"),
        .flag("--tls-use-os-certs", about: "TLS: trust the system's authorities (the default)"),
        .one("--cert", value: "FILE", about: "TLS: our certificate, PEM; needs --key"),
        .one("--key", value: "FILE", about: "TLS: its key, PEM, not encrypted"),
        .flag("--insecure", about: "TLS: take a certificate for any host; without --cafile and --capath any at all"),
        .one("--tls-version", value: "VERSION", about: "TLS: tlsv1.2 or tlsv1.3 alone (default: the newest that both know)"),
        .one("--tls-alpn", value: "NAME", about: "TLS: the application protocol to ask for (ALPN)"),
    ]

    /// `isAsked`: by the URL or the port. `nil`: nobody asks for TLS.
    static func parse(_ arguments: Arguments, isAsked: Bool) throws(CommandFailure) -> TLSClientOptions? {
        let flags = ["--cafile", "--capath", "--tls-use-os-certs", "--cert", "--key", "--insecure", "--tls-version", "--tls-alpn"]
        guard isAsked || flags.contains(where: { arguments.has($0) }) else { return nil }
        if let url = arguments.text("-L"), !isAsked { throw .usage("-L \(url) is without TLS: write mqtts://, or leave out the flags about TLS") }
        var options = TLSClientOptions()
        let file = arguments.text("--cafile"), directory = arguments.text("--capath")
        if file != nil, directory != nil { throw .usage("--cafile and --capath: one of them says whom to trust") }
        if let file { options.trust = .file(file) }
        if let directory { options.trust = .directory(directory) }
        if arguments.has("--insecure") {
            options.checksServerName = false
            if file == nil, directory == nil, !arguments.has("--tls-use-os-certs") { options.trust = .none }
        }
        switch (arguments.text("--cert"), arguments.text("--key")) {
        case (let certificate?, let key?): options.identity = TLSIdentity(certificate: certificate, key: key)
        case (nil, nil): break
        case (_?, nil): throw .usage("--cert needs its --key")
        case (nil, _?): throw .usage("--key needs its --cert")
        }
        switch arguments.text("--tls-version") {
        case nil: break
        case "tlsv1.2"?: (options.minimumVersion, options.maximumVersion) = (.tls12, .tls12)
        case "tlsv1.3"?: (options.minimumVersion, options.maximumVersion) = (.tls13, .tls13)
        case let other?: throw .usage("--tls-version \(other): the versions are tlsv1.2 and tlsv1.3")
        }
        options.applicationProtocols = arguments.text("--tls-alpn").map { [$0] } ?? []
        return options
    }
}
