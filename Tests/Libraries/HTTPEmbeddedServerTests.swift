import MartletEventLoop
import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// A loop of the test's own with a listener and an embedded server on it.
private final class OwnLoop: Sendable {
    let loop = EventLoop()
    let server: HTTPEmbeddedServer
    let place: String
    private let thread: LoopThread

    init(options: HTTPServerOptions = HTTPServerOptions(), _ router: HTTPRouter) throws {
        let socket = try BoundSocket(SocketAddress.resolve("127.0.0.1", port: 0)[0])
        let server = HTTPEmbeddedServer(on: [loop], options: options, router)
        self.server = server
        place = "\(socket.address)"
        thread = loop.start { loop in
            Listener(socket) { descriptor, peer in server.take(Transport(descriptor: descriptor), from: peer, on: loop) }.open(on: loop)
            return nil
        }
    }

    var counters: HTTPServerCounters {
        get async {
            let answer = Once<HTTPServerCounters>(), server = server
            loop.execute { answer.resume(returning: server.counters(of: $0)) }
            return await answer.wait()
        }
    }

    /// Ends as the loop's owner does. There is no end to the grace: what does not end in good order runs into the test's own limit.
    func end() async {
        let server = server, thread = thread, ended = Once<Void>()
        loop.execute { loop in
            for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) }
            server.stop(on: loop)
        }
        loop.stop(grace: .seconds(3600))
        _ = DetachedThread.start(stackSize: 256 << 10) {
            thread.join()
            ended.resume(returning: ())
        }
        await ended.wait()
    }
}

@Suite(.timeLimit(.minutes(10))) struct HTTPEmbeddedServerTests {
    private static var router: HTTPRouter {
        var router = HTTPRouter()
        router.get("/hello") { _ in .text("hello") }
        router.post("/length") { .text("\(try await $0.body.collect().count)") }
        return router
    }

    @Test func `connections of another's loop are served, and counted`() async throws {
        let own = try OwnLoop(Self.router)
        #expect(try await exchange(request("GET /hello"), with: own.place).hasSuffix("\r\n\r\nhello"))
        #expect(try await exchange(request("POST /length", body: "12345"), with: own.place).hasSuffix("\r\n\r\n5"))
        #expect(try await exchange(request("GET /nothing"), with: own.place).hasPrefix("HTTP/1.1 404 "))
        #expect(try await exchange("GET /\u{1} HTTP/1.1\r\n\r\n", with: own.place).hasPrefix("HTTP/1.1 400 "))
        let counters = await own.counters
        #expect(counters.connectionsTaken == 4 && counters.connections == 0 && counters.violations == 1)
        #expect((1...5).map { counters.responses(ofClass: $0) } == [0, 2, 0, 1, 0])
        #expect(counters.contentReceived == 5 && counters.contentSent > 6)
        await own.end()
    }

    @Test func `the end closes idle connections at once, and lets what is under way go to its end`() async throws {
        let entered = Once<Void>(), go = Once<Void>()
        var router = Self.router
        router.get("/slow") { _ in
            entered.resume(returning: ())
            await go.wait()
            return .text("done")
        }
        let own = try OwnLoop(router)
        try await TCP.withConnection(to: own.place) { idle in
            try await idle.write("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await answer(from: idle, until: "hello")
            try await TCP.withConnection(to: own.place) { busy in
                try await busy.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                await entered.wait()
                async let end: Void = own.end()
                #expect(try await everything(of: idle) == "")
                go.resume(returning: ())
                let text = try await everything(of: busy)
                #expect(text.hasSuffix("\r\n\r\ndone") && text.contains("\r\nConnection: close\r\n"))
                try await busy.finishWriting()
                try await idle.finishWriting()
                await end
            }
        }
    }

    @Test func `one connection too many is closed`() async throws {
        var options = HTTPServerOptions()
        options.connectionsMax = 1
        let own = try OwnLoop(options: options, Self.router)
        try await TCP.withConnection(to: own.place) { first in
            try await first.write("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await answer(from: first, until: "hello")
            let text = try? await exchange(request("GET /hello"), with: own.place)
            #expect(text == nil || text == "")
            #expect(await own.counters.connectionsRefused == 1)
        }
        await own.end()
    }

    @Test(arguments: [
        ("Basic YW5uOng6eQ==", "ann x:y"), ("bAsIc  YW5uOnM=", "ann s"), ("Basic Og==", " "), ("Basic YW5u", "none"), ("Basic YW5uOng6eQ=", "none"),
        ("Basic YW5uOng6e$==", "none"), ("Bearer YW5uOnM=", "none"), ("Basic", "none"),
    ]) func `Basic credentials`(_ field: String, _ expected: String) async throws {
        let text = try await withHTTPServer { request in
            guard let (user, password) = request.basicCredentials else { return .text("none") }
            return .text(String(decoding: user, as: UTF8.self) + " " + String(decoding: password, as: UTF8.self))
        } _: {
            try await exchange(request("GET /", ["Authorization: \(field)"]), with: $0)
        }
        #expect(text.hasSuffix("\r\n\r\n\(expected)"))
    }
}
