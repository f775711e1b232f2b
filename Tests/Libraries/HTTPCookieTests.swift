import Testing

@testable import MartletHTTP

/// The cookie jar, and the transport in the process.
@Suite(.timeLimit(.minutes(10))) struct HTTPCookieTests {
    @Test(
        arguments: [
            ("a=1", "http://h.example/x/y", "http://h.example/x/z", "a=1"), ("a=1", "http://h.example/x/y", "http://h.example/", nil),
            ("a=1; Path=/", "http://h.example/x/y", "http://h.example/", "a=1"), ("a=1; Path=/x", "http://h.example/x", "http://h.example/xy", nil),
            ("a=1", "http://h.example/", "http://i.h.example/", nil), ("a=1; Domain=.h.example", "http://h.example/", "http://i.h.example/", "a=1"),
            ("a=1; Domain=example", "http://h.example/", "http://h.example/", nil),
            ("a=1; Domain=other.example", "http://h.example/", "http://h.example/", nil),
            ("a=1; Domain=other.example", "http://h.example/", "http://other.example/", nil),
            ("a=1; Secure", "https://h.example/", "http://h.example/", nil), ("a=1; Secure", "https://h.example/", "https://h.example/", "a=1"),
            ("a=1; Secure", "http://h.example/", "https://h.example/", nil), ("a=1; Max-Age=0", "http://h.example/", "http://h.example/", nil),
            ("a=1; Max-Age=10", "http://h.example/", "http://h.example/", "a=1"), ("a=1; Max-Age=-5", "http://h.example/", "http://h.example/", nil),
            ("a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "http://h.example/", "http://h.example/", nil),
            ("a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Max-Age=9", "http://h.example/", "http://h.example/", "a=1"),
            ("a=1; Domain=0.0.1", "http://127.0.0.1/", "http://127.0.0.1/", nil), ("no pair", "http://h.example/", "http://h.example/", nil),
        ] as [(String, String, String, String?)])
    func `a cookie goes where RFC 6265 sends it`(_ field: String, _ from: String, _ to: String, _ sent: String?) throws {
        let jar = HTTPCookieJar()
        jar.take(field, from: try HTTPURL(from), now: 1_000_000_000)
        #expect(jar.field(for: try HTTPURL(to), now: 1_000_000_005) == sent)
    }

    @Test func `cookies end, change, and are bounded in number`() throws {
        let jar = HTTPCookieJar(countMax: 3), url = try HTTPURL("http://h/")
        jar.take("a=1; Max-Age=10", from: url, now: 100)
        #expect(jar.field(for: url, now: 109) == "a=1")
        #expect(jar.field(for: url, now: 110) == nil)
        for field in ["a=1", "b=2", "a=3", "c=4; Path=/x/y", "d=5"] { jar.take(field, from: url, now: 200) }
        #expect(jar.count == 3)
        #expect(jar.field(for: try HTTPURL("http://h/x/y"), now: 200) == "c=4; b=2; d=5")
        jar.take("b=; Max-Age=0", from: url, now: 201)
        #expect(jar.field(for: url, now: 201) == "d=5")
    }

    @Test func `a handler in the process answers for any host, over redirects, with cookies`() async throws {
        let jar = HTTPCookieJar()
        let options = clientOptions { $0.cookies = jar }
        let (texts, count) = try await HTTPClient.withHandler(options: options) { request in
            if request.path == "/login" {
                var response = try HTTPResponse.redirect(to: "/home")
                try response.fields.append("Set-Cookie", "id=7; Path=/")
                try response.fields.append("Set-Cookie", "theme=dark; Path=/")
                return response
            }
            return .text("\(request.host) \(request.fields["cookie"] ?? "-")")
        } _: { client in
            let texts = [
                try await client.get("http://one.example/home").text(), try await client.post("http://one.example/login").text(),
                try await client.get("https://two.example:8443/home").text(),
            ]
            return (texts, jar.count)
        }
        #expect(texts == ["one.example -", "one.example id=7; theme=dark", "two.example:8443 -"])
        #expect(count == 2)
    }

    @Test func `credentials are written as RFC 7617 and RFC 6750 say`() {
        #expect(HTTPCredentials.basic(user: "Aladdin", password: "open sesame").field == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        #expect(HTTPCredentials.basic(user: "test", password: "123£").field == "Basic dGVzdDoxMjPCow==")
        #expect(HTTPCredentials.basic(user: "", password: "").field == "Basic Og==")
        #expect(HTTPCredentials.bearer("mF_9.B5f-4.1JqM").field == "Bearer mF_9.B5f-4.1JqM")
    }
}
