import MartletNet
import Testing

@testable import martlet

private func place(_ words: String..., listens: Bool = false) -> String {
    let command = Command(path: ["test"], summary: "", words: "HOST:PORT", options: Place.options, examples: [], run: { _ in 0 })
    do throws(CommandFailure) { return "\(try Place(Arguments(words, for: command), of: "test", listens: listens))" } catch {
        return "\(error.code) \(error.sentence)"
    }
}

@Suite struct PlaceArgumentsTests {
    @Test func `a place is one word, two words, or options; the course's stands for what is not said`() {
        #expect(place() == "127.0.0.1:65432")
        #expect(place("--port", "7") == "127.0.0.1:7")
        #expect(place("--host", "::1") == "[::1]:65432")
        #expect(place("example.org:80") == "example.org:80")
        #expect(place("example.org", "80") == "example.org:80")
        #expect(place("[::1]:80") == "[::1]:80")
        #expect(place("tcp://localhost:80/") == "localhost:80")
        #expect(place("unix:/run/x.sock") == "/run/x.sock")
        #expect(place("unix:///run/x.sock") == "/run/x.sock")
        #expect(place("unix:@name") == "@name")
        #expect(place("--port", "0", listens: true) == "127.0.0.1:0")
    }

    @Test func `what is no place is refused with exit code 64`() {
        for words in ["example.org", ":80", "h:", "h:0", "h:65536", "h:x", "::1:80", "unix:", "unix:@"] {
            #expect(place(words).hasPrefix("64 test: \(words): say HOST:PORT"), "\(words)")
        }
        #expect(place("--port", "0").hasPrefix("64 --port 0"))
        #expect(place("h:1", "--port", "2") == "64 test: h:1 says the place: leave out --host and --port")
        #expect(place("h", "1", "2") == "64 test: unexpected \"2\": say one place, HOST:PORT")
    }
}
