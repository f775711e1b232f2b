import MartletBytes
import MartletCore
import MartletEventLoop
import MartletMQTTProtocol
import MartletPipe
import MartletShard
import MartletSimulation
import MartletWebSocketGateway
import MartletWebSocketProtocol
import Testing

/// Pages on a broker in memory, with its clock.
final class PipePages {
    let broker: PipeBroker
    let gateways: [WebSocketGateway]

    init(shards: Int = 1, _ change: (inout WebSocketGatewayOptions) -> Void = { _ in }) {
        broker = PipeBroker(shards: shards)
        var options = WebSocketGatewayOptions()
        change(&options)
        gateways = broker.shards.map { $0.addGateway { WebSocketGateway($0, id: $1, options: options) } }
    }

    func page(on loop: Int = 0) -> PipePage {
        let (near, far) = broker.network.makeStream()
        gateways[loop].adopt(Transport(descriptor: near))
        return PipePage(broker, far)
    }
}

final class PipePage {
    let broker: PipeBroker
    let descriptor: Int32
    private var machine: WebSocketMachine
    private var unread = UnreadBytes()
    private var output = ByteBuffer()
    private(set) var closeCode: WebSocketCloseCode?
    /// It answers pings, and takes what it is sent.
    var isAlive = true

    init(_ broker: PipeBroker, _ descriptor: Int32) {
        self.broker = broker
        self.descriptor = descriptor
        var limits = WebSocketLimits()
        limits.pingInterval = nil
        machine = WebSocketMachine(client: limits, secret: (1, 2), now: broker.network.now)
    }

    var hasEnded: Bool { broker.network.hasEnded(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        try? machine.send(.text, bytes.span, into: &output)
        flush()
    }

    func close() {
        try? machine.close(into: &output)
        flush()
    }

    private func flush() {
        broker.network.write(output.span.array, to: descriptor)
        output.removeAll()
        broker.run()
    }

    /// What has come.
    func take() -> [String] {
        broker.run()
        guard isAlive else { return [] }
        var texts: [String] = []
        while true {
            let new = broker.network.read(from: descriptor)
            if new.isEmpty { break }
            unread.keep(new.span, used: Self.read(&machine, unread.show(new.span), &output, &texts, &closeCode))
            flush()
        }
        return texts
    }

    private static func read(
        _ machine: inout WebSocketMachine, _ bytes: Span<UInt8>, _ output: inout ByteBuffer, _ texts: inout [String], _ code: inout WebSocketCloseCode?
    ) -> Int {
        var input = ByteReader(bytes)
        do throws(WebSocketViolation) {
            while let event = try machine.nextEvent(from: &input, into: &output) {
                if case .text(let range) = event { texts.append(machine.content.at(range).text) }
                if case .close(let said, _) = event { code = said }
            }
        } catch { Issue.record("the gateway broke the protocol: \(error)") }
        return input.offset
    }

    func ask(_ text: String) -> [String] {
        send(text)
        return take()
    }
}

@Suite struct WebSocketGatewayTests {
    private static let ping = #"{"op":"ping"}"#

    @Test func `a page is told every 20 seconds that the server is there, and lives as long as its browser answers`() {
        let pages = PipePages(), page = pages.page()
        for _ in 0..<30 {
            pages.broker.advance(by: .seconds(20))
            #expect(page.take() == [Self.ping])
        }
        #expect(!page.hasEnded)
    }

    @Test func `a page whose browser does not answer is cut 20 seconds after it was asked`() {
        let pages = PipePages(), page = pages.page()
        page.isAlive = false
        pages.broker.advance(by: .seconds(20))
        pages.broker.advance(by: .seconds(19))
        #expect(!page.hasEnded)
        pages.broker.advance(by: .seconds(2))
        page.isAlive = true
        _ = page.take()
        #expect(page.closeCode == .internalError)
        #expect(page.hasEnded)
        #expect(pages.broker.shards[0].core.value.tableCounts.allSatisfy { $0.count == 0 })
    }

    @Test func `without a ping interval nothing is said and nobody is cut`() {
        let pages = PipePages { $0.pingInterval = .zero }, page = pages.page()
        pages.broker.advance(by: .seconds(100_000))
        #expect(page.take().isEmpty && !page.hasEnded)
    }

    @Test func `who has to say who it is has 10 seconds`() {
        let pages = PipePages { $0.authenticate = { name, password in name == [0x6D] && password == [0x70] } }
        let silent = pages.page(), known = pages.page()
        #expect(known.ask(#"{"op":"connect","id":1,"user":"m","password":"p"}"#) == [#"{"op":"ok","id":1}"#])
        pages.broker.advance(by: .seconds(9))
        #expect(silent.take().isEmpty && !silent.hasEnded)
        pages.broker.advance(by: .seconds(2))
        #expect(silent.take().isEmpty && silent.closeCode == .policyViolation)
        #expect(known.ask(#"{"op":"publish","id":2,"topic":"a","text":""}"#) == [#"{"op":"ok","id":2}"#])
    }

    @Test(arguments: [1, 2]) func `requests are answered, or fail when their time is over, nearest first`(shards: Int) {
        let pages = PipePages(shards: shards), asking = pages.page(), answering = pages.page(on: shards - 1)
        #expect(answering.ask(#"{"op":"subscribe","id":1,"topic":"s"}"#) == [#"{"op":"ok","id":1}"#])
        for (id, timeout) in [("1", 900), ("2", 300), ("3", 600)] {
            #expect(asking.ask(#"{"op":"request","id":\#(id),"topic":"s","text":"?","timeout":\#(timeout)}"#).isEmpty)
        }
        let questions = answering.take()
        #expect(questions.count == 3)
        let reply = questions[0].split(separator: "\"reply\":\"")[1].prefix { $0 != "\"" }
        #expect(questions[0] == #"{"op":"message","topic":"s","text":"?","reply":"\#(reply)"}"#)
        #expect(answering.ask(#"{"op":"publish","topic":"\#(reply)","text":"!"}"#).isEmpty)
        #expect(asking.take() == [#"{"op":"message","id":1,"topic":"\#(reply)","text":"!"}"#])
        var failed: [String] = []
        for _ in 0..<10 {
            pages.broker.advance(by: .milliseconds(100))
            failed += asking.take()
        }
        #expect(failed == ["2", "3"].map { #"{"op":"error","id":\#($0),"reason":"no answer came in time"}"# })
        #expect(pages.gateways[0].samples.first { $0.name == "requestsUnanswered" }?.value == 2)
    }

    @Test(arguments: [1, 3]) func `messages cross loops, and what a page had is gone with it`(shards: Int) {
        let pages = PipePages(shards: shards), all = (0..<6).map { pages.page(on: $0 % shards) }
        for page in all { #expect(page.ask(#"{"op":"subscribe","id":1,"topic":"a/#"}"#) == [#"{"op":"ok","id":1}"#]) }
        all[1].send(#"{"op":"publish","topic":"a/b","text":"x","qos":1}"#)
        for page in all { #expect(page.take() == [#"{"op":"message","topic":"a/b","text":"x"}"#]) }
        let mqtt = pages.broker.connected("m")
        mqtt.subscribe("a/#")
        all[2].send(#"{"op":"publish","topic":"a/c","base64":"/w=="}"#)
        mqtt.read()
        #expect(mqtt.takeMessages().map(\.payload) == [[0xFF]])
        for page in all { #expect(page.take() == [#"{"op":"message","topic":"a/c","base64":"/w=="}"#]) }
        for page in all { page.close() }
        for page in all {
            _ = page.take()
            #expect(page.closeCode == .normal)
        }
        mqtt.disconnect()
        pages.broker.run()
        for shard in pages.broker.shards { #expect(shard.core.value.tableCounts.allSatisfy { $0.count == 0 }, "\(shard.core.value.tableCounts)") }
        for gateway in pages.gateways { #expect(gateway.samples.filter { ["connections", "subscriptions"].contains($0.name) }.allSatisfy { $0.value == 0 }) }
    }

    @Test func `a page that does not read loses what is live and nothing of what was retained`() {
        let pages = PipePages { $0.outputBytesMax = 10_000 }, source = pages.page(), slow = pages.page()
        for number in 0..<200 { source.send(#"{"op":"publish","topic":"r/\#(number)","text":"\#(String(repeating: "x", count: 1_000))","retain":true}"#) }
        slow.isAlive = false
        pages.broker.network.capacity = 20_000
        slow.send(#"{"op":"subscribe","topic":"r/+"}"#)
        slow.send(#"{"op":"subscribe","topic":"live"}"#)
        for _ in 0..<1_000 { source.send(#"{"op":"publish","topic":"live","text":"\#(String(repeating: "y", count: 1_000))"}"#) }
        #expect(pages.broker.loops[0].channels(of: Channel.self).map { pages.broker.loops[0].unsentCount($0.slot) }.max() ?? 0 < 300_000)
        slow.isAlive = true
        var got: [String] = []
        for _ in 0..<1_000 { got += slow.take() }
        #expect(got.filter { $0.contains("\"retained\":true") }.count == 200)
        let live = got.filter { $0.contains("\"topic\":\"live\"") }.count
        #expect(live < 1_000)
        #expect(slow.ask(#"{"op":"publish","id":1,"topic":"live","text":"again"}"#).contains(#"{"op":"message","topic":"live","text":"again"}"#))
    }

    @Test func `no bytes of a page trap`() {
        let pages = PipePages(), page = pages.page()
        var random = SystemRandomNumberGenerator()
        let words = [
            "{", "}", "[", "]", ",", ":", "\"op\"", "\"publish\"", "\"subscribe\"", "\"request\"", "\"unsubscribe\"", "\"id\"", "1", "-1e9", "\"topic\"",
            "\"a/b\"", "\"#\"",
            "\"text\"", "\"base64\"", "\"YQ==\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "true", "null", "\"qos\"", "\"retain\"", "\"timeout\"", "5", "\"reply\"",
            "\"$reply/x\"",
        ]
        for _ in 0..<3_000 {
            let count = Int.random(in: 0..<14, using: &random)
            var text = (0..<count).compactMap { _ in words.randomElement(using: &random) }.joined()
            if Bool.random(using: &random) {
                let members = (0..<Int.random(in: 0..<7, using: &random)).map { _ in
                    "\(words.randomElement(using: &random) ?? ""):\(words.randomElement(using: &random) ?? "")"
                }
                text = "{\(members.joined(separator: ","))}"
            }
            _ = page.ask(text)
        }
        #expect(!page.hasEnded)
    }
}

@Suite struct WebSocketOperationTests {
    private func read(_ text: String) -> (operation: String, refusal: String?) {
        var operation = WebSocketOperation()
        let bytes = Array(text.utf8)
        // What was read before leaves nothing behind.
        let other = Array(
            #"{"op":"request","id":"old","topic":"old","base64":"b2xk","qos":1,"retain":true,"reply":"old","correlation":"b2xk","timeout":9,"user":"u","password":"p"}"#
                .utf8)
        try? operation.read(other.span)
        do throws(WebSocketOperationRefusal) {
            try operation.read(bytes.span)
            return (Self.words(operation), nil)
        } catch { return (Self.words(operation), error.description) }
    }

    private static func words(_ operation: borrowing WebSocketOperation) -> String {
        let kind = operation.kind.map { "\($0)" } ?? "none"
        return [
            kind, operation.id.span.text, operation.hasTopic ? operation.topic.span.text : "-", operation.hasBody ? operation.body.span.text : "-",
            operation.hasReply ? operation.reply.span.text : "-", operation.correlation.span.text, operation.hasUser ? operation.user.span.text : "-",
            operation.password.span.text, "\(operation.qos)", "\(operation.retains)", operation.timeout.map(String.init) ?? "-",
        ].joined(separator: " ")
    }

    @Test(arguments: [
        (#"{"op":"publish","topic":"a","text":"b"}"#, "publish  a b -  -  0 false -"),
        (#" { "text" : "\u00e9\n" , "id" : "q" , "topic" : "a\/b" , "op" : "publish" } "#, "publish \"q\" a/b é\n -  -  0 false -"),
        (#"{"op":"request","id":1e3,"topic":"a","base64":"Yg==","timeout":5,"correlation":"Yw=="}"#, "request 1e3 a b - c -  0 false 5"),
        (#"{"op":"publish","topic":"a","text":"x","qos":1,"retain":true,"reply":"r"}"#, "publish  a x r  -  1 true -"),
        (#"{"op":"connect","user":"","password":"p"}"#, "connect  - - -   p 0 false -"),
        (##"{"op":"subscribe","id":null,"topic":"#","text":"","more":[{"op":"publish"}],"":0}"##, "subscribe  #  -  -  0 false -"),
        (#"{"\u006fp":"unsubscribe","topic":"first","topic":"last"}"#, "unsubscribe  last - -  -  0 false -"),
    ])
    func `what is asked is what is read`(text: String, words: String) {
        let (operation, refusal) = read(text)
        #expect(operation == words)
        #expect(refusal == nil)
    }

    @Test func `an id is read also from what is refused`() {
        let (operation, refusal) = read(#"{"op":"nothing","id":7,"topic":1}"#)
        #expect(operation.hasPrefix("none 7 "))
        #expect(refusal?.hasPrefix("op is one of") == true)
    }
}
