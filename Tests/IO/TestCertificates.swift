import Foundation
import MartletTLS

/// Certificates for one run of the tests, made by the `openssl` command in a folder of their own.
final class TestCertificates: Sendable {
    static let shared = TestCertificates()
    let folder: String

    private init() {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-tls-\(UUID().uuidString)").path
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for authority in ["ca", "other-ca"] {
            openssl([
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("\(authority).key"), "-out",
                path("\(authority).pem"), "-subj", "/CN=\(authority)",
            ])
        }
        make("server", "DNS:localhost,IP:127.0.0.1")
        make("renewed", "DNS:localhost,IP:127.0.0.1")
        make("elsewhere", "DNS:elsewhere.example,IP:192.0.2.1")
        make("wildcard", "DNS:*.example.org")
        make("expired", "DNS:localhost", days: -1)
        make("stranger", "DNS:localhost", by: "other-ca")
        make("client", nil)
        make("client-expired", nil, days: -1)
        make("client-stranger", nil, by: "other-ca")
        openssl(["pkey", "-in", path("server.key"), "-aes256", "-passout", "pass:secret", "-out", path("encrypted.key")])
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }
    func identity(_ name: String) -> TLSIdentity { TLSIdentity(certificate: path("\(name).pem"), key: path("\(name).key")) }

    func copy(_ name: String, to other: String) {
        for suffix in ["pem", "key"] {
            try? FileManager.default.removeItem(atPath: path("\(other).\(suffix)"))
            try? FileManager.default.copyItem(atPath: path("\(name).\(suffix)"), toPath: path("\(other).\(suffix)"))
        }
    }

    func write(_ text: String, to name: String) { try? text.write(toFile: path(name), atomically: true, encoding: .utf8) }

    /// In two steps, since the one-step form takes no negative days.
    private func make(_ name: String, _ alternatives: String?, by authority: String = "ca", days: Int = 30) {
        openssl(
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("\(name).key"), "-out", path("\(name).csr")]
                + ["-subj", "/CN=\(name)", "-addext", "basicConstraints=critical,CA:FALSE"]
                + (alternatives.map { ["-addext", "subjectAltName=\($0)"] } ?? []))
        openssl(
            ["x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).pem"), "-CAkey", path("\(authority).key"), "-CAcreateserial"]
                + ["-copy_extensions", "copy", "-out", path("\(name).pem"), "-days", "\(days)"])
    }

    private func openssl(_ arguments: [String]) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        do { try process.run() } catch { preconditionFailure("no openssl command: \(error)") }
        process.waitUntilExit()
        precondition(process.terminationStatus == 0, "openssl \(arguments.joined(separator: " "))")
    }
}
