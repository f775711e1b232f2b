import MartletLogging
import MartletSettings
import MartletTLS
import MartletZMQ

/// Who may talk, as typed: PLAIN's names and passwords, CURVE's keys, the certificates of wss. What is secret comes from files or the environment.
enum ZMQSecurityArguments {
    static let options: [Command.Option] =
        [
            .one("-u", "--username", value: "NAME", about: "PLAIN: who we are"),
            .one("-P", "--pw", value: "PASSWORD", about: "PLAIN: better in the environment, as MARTLET_ZMQ_PASSWORD"),
            .one("--plain-users", value: "FILE", about: "PLAIN's server: who may talk, a line NAME:PASSWORD each"),
            .one("--curve-keys", value: "FILE", about: "CURVE: our keys, of zmq keygen; or the secret one in MARTLET_ZMQ_SECRET_KEY"),
            .one("--curve-server", value: "KEY", about: "CURVE: the server's public key, or a file that has it: we are a client"),
            .one("--curve-clients", value: "FILE", about: "CURVE's server: the public keys that may talk, one a line; `any`: whoever has one"),
            .one("--tls-cert", value: "FILE", about: "wss:// that is bound: its certificate (PEM), with --tls-key"),
            .one("--tls-key", value: "FILE", about: "its private key (PEM)"),
        ] + TLSArguments.clientOfURL

    /// Changes nothing when nothing was said of it. Where `bound` has a wss, a certificate has to be.
    static func apply(_ arguments: Arguments, _ command: String, bound: [String], to options: inout ZMQSocketOptions) throws(CommandFailure) {
        let isPlain = ["-u", "-P", "--plain-users"].contains { arguments.has($0) }
        let isCurve = ["--curve-keys", "--curve-server", "--curve-clients"].contains { arguments.has($0) }
        if isPlain, isCurve { throw .usage("\(command): PLAIN and CURVE exclude each other") }
        if isPlain { try plain(arguments, command, &options) }
        if isCurve { try curve(arguments, command, &options) }
        if let tls = try TLSArguments.clientOptions(arguments) { options.tls = tls }
        options.serverTLS = try TLSArguments.identity(arguments, "--tls-cert", "--tls-key").map { TLSServerOptions(identity: $0) }
        if options.serverTLS == nil, let secure = bound.first(where: { $0.hasPrefix("wss:") }) {
            throw .usage("\(command): \(secure) needs --tls-cert and --tls-key")
        }
    }

    // MARK: PLAIN

    private static func plain(_ arguments: Arguments, _ command: String, _ options: inout ZMQSocketOptions) throws(CommandFailure) {
        if let path = arguments.text("--plain-users") {
            if arguments.has("-u") || arguments.has("-P") { throw .usage("\(command): a socket is PLAIN's server, by --plain-users, or its client, by -u") }
            var known: [String: String] = [:]
            for line in try lines(path, command) {
                guard let colon = line.firstIndex(of: ":") else { throw .usage("\(command): \(path): \"\(line)\" is not NAME:PASSWORD") }
                known[String(line[..<colon])] = String(line[line.index(after: colon)...])
            }
            options.security = .plainServer
            options.authenticator = { [known] credentials in
                if case .plain(let user, let password) = credentials.proof { known[user] == password } else { false }
            }
            return
        }
        guard let user = arguments.text("-u") else { throw .usage("\(command): -P without -u: say who has the password") }
        let password = arguments.text("-P") ?? ProcessEnvironment.variables["MARTLET_ZMQ_PASSWORD"] ?? ""
        guard user.utf8.count <= 255, password.utf8.count <= 255 else { throw .usage("\(command): PLAIN's names and passwords have at most 255 bytes") }
        options.security = .plainClient(user: Array(user.utf8), password: Array(password.utf8))
    }

    // MARK: CURVE

    private static func curve(_ arguments: Arguments, _ command: String, _ options: inout ZMQSocketOptions) throws(CommandFailure) {
        let keys = try ownKeys(arguments, command)
        if let server = arguments.text("--curve-server") {
            if arguments.has("--curve-clients") { throw .usage("\(command): a socket is CURVE's server, by --curve-clients, or its client, by --curve-server") }
            options.security = .curveClient(keys ?? CurveKeyPair.generate(), server: try publicKey(server, command))
            return
        }
        guard let keys else { throw .usage("\(command): a server needs its keys: --curve-keys FILE, made by `martlet zmq keygen NAME`") }
        guard let clients = arguments.text("--curve-clients") else {
            throw .usage("\(command): say --curve-server KEY, to be a client, or --curve-clients FILE, to be the server")
        }
        options.security = .curveServer(keys)
        guard clients != "any" else {
            options.authenticator = { _ in true }
            return
        }
        var known: Set<[UInt8]> = []
        for line in try lines(clients, command) {
            guard let key = CurvePublicKey(z85: line) else { throw .usage("\(command): \(clients): \"\(line)\" is no public key of 40 characters") }
            known.insert(key.bytes)
        }
        options.authenticator = { [known] credentials in
            if case .curve(let key) = credentials.proof { known.contains(key) } else { false }
        }
    }

    /// Nil when none were given: a client's may be made up.
    private static func ownKeys(_ arguments: Arguments, _ command: String) throws(CommandFailure) -> CurveKeyPair? {
        let text: String
        if let path = arguments.text("--curve-keys") {
            guard let found = value(of: "secret-key", in: try lines(path, command)) else { throw .usage("\(command): \(path) has no secret key") }
            text = found
        } else if let found = ProcessEnvironment.variables["MARTLET_ZMQ_SECRET_KEY"] {
            text = found
        } else {
            return nil
        }
        guard let key = CurveSecretKey(z85: text) else { throw .usage("\(command): the secret key is not 40 characters of Z85") }
        return CurveKeyPair(key)
    }

    private static func publicKey(_ text: String, _ command: String) throws(CommandFailure) -> CurvePublicKey {
        if let key = CurvePublicKey(z85: text) { return key }
        guard let found = value(of: "public-key", in: try lines(text, command)), let key = CurvePublicKey(z85: found) else {
            throw .usage("\(command): \(text) is no public key, and no file that has one")
        }
        return key
    }

    /// `name = "value"`, as the certificates of ZeroMQ's other libraries have it; or a line that is the value alone.
    private static func value(of name: String, in lines: [String]) -> String? {
        for line in lines {
            let parts = line.split(separator: "=", maxSplits: 1).map { $0.drop { $0 == " " } }
            if parts.count == 2, parts[0].prefix(while: { $0 != " " }) == name { return parts[1].split(separator: "\"").first.map(String.init) }
        }
        return lines.first { $0.count == 40 && !$0.contains(" ") }
    }

    /// Without blank ones, comments and what stands around them. A key may begin as a comment does.
    private static func lines(_ path: String, _ command: String) throws(CommandFailure) -> [String] {
        let bytes: [UInt8]
        do throws(InputFailure) { bytes = try MessageSource.file(path: path).payload(until: InputStop()) ?? [] } catch {
            throw CommandFailure(ExitCode.failed, "\(command): \(error)")
        }
        return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map { line in
            var line = line.drop { $0 == " " || $0 == "\t" }
            while line.last == " " || line.last == "\t" { line.removeLast() }
            return String(line)
        }.filter { !$0.isEmpty && (!$0.hasPrefix("#") || CurvePublicKey(z85: $0) != nil) }
    }
}
