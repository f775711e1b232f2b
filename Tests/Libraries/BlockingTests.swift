import MartletNet
import MartletSockets
import Testing

/// Plain blocking calls: what they give, and how they fail.
@Suite(.serialized) struct BlockingTests {
    private let patience = Duration.seconds(10)

    /// Both ends of a connection.
    private func pair(_ use: (inout BlockingConnection, inout BlockingConnection) throws -> Void) throws {
        let listener = try Blocking.TCP.listen(on: "127.0.0.1:0")
        var near = try Blocking.TCP.connect(to: "\(listener.address)", timeout: patience)
        var far = try listener.accept(timeout: patience)
        try use(&near, &far)
    }

    private func kind(_ call: () throws -> Void) -> NetError.Kind? {
        do { try call() } catch { return (error as? NetError)?.kind }
        return nil
    }

    @Test func `bytes, lines and frames in one stream`() throws {
        try pair { near, far in
            try near.write("a line\r\n\nand more")
            try near.write([0, 3, 7, 8, 9])
            near.finishWriting()
            let first = try far.readLine(timeout: patience), second = try far.readLine(timeout: patience)
            #expect(first == "a line" && second == "")
            let exactly = try far.read(exactly: 8, timeout: patience)
            #expect(exactly == Array("and more".utf8))
            let frame = try far.readFrame(.lengthPrefixed(width: .uint16), timeout: patience)
            #expect(frame == [7, 8, 9])
            let end = try far.read(timeout: patience), line = try far.readLine(timeout: patience), none = try far.read(exactly: 1, timeout: patience)
            #expect(end == nil && line == nil && none == nil)
            // The other direction goes on.
            try far.write("still", timeout: patience)
            let answer = try near.read(exactly: 5, timeout: patience)
            #expect(answer == Array("still".utf8))
        }
    }

    @Test func `both know where they are`() throws {
        try pair { near, far in
            #expect(near.local == far.peer && near.peer == far.local)
        }
    }

    @Test func `a line that is too long, or cut short`() throws {
        try pair { near, far in
            try near.write("12345\n1")
            #expect(kind { _ = try far.readLine(max: 4, timeout: patience) } == .tooLong)
            let line = try far.readLine(timeout: patience)
            #expect(line == "12345")
            near.finishWriting()
            #expect(kind { _ = try far.readLine(timeout: patience) } == .truncated)
            #expect(kind { _ = try far.read(exactly: 2, timeout: patience) } == .truncated)
            let rest = try far.read(timeout: patience)
            #expect(rest == [49])
        }
    }

    @Test func `a timeout is for the whole call, and nothing read is lost`() throws {
        try pair { near, far in
            try near.write("half")
            let start = ContinuousClock.now
            do throws(NetError) {
                _ = try far.readLine(timeout: .milliseconds(80))
                Issue.record("no line had come")
            } catch {
                #expect(error.kind == .timedOut && error.phase == .read && error.elapsed >= .milliseconds(75))
                #expect(error.address == "\(far.peer)")
            }
            #expect(ContinuousClock.now - start < .seconds(5))
            try near.write(" and half\n")
            let line = try far.readLine(timeout: patience)
            #expect(line == "half and half")
        }
    }

    @Test func `a peer that does not read ends a write by its timeout`() throws {
        try pair { near, far in
            let failure = kind { for _ in 0..<1_000 { try near.write([UInt8](repeating: 0, count: 1 << 20), timeout: .milliseconds(50)) } }
            #expect(failure == .timedOut)
            let bytes = try far.read(timeout: patience)
            #expect(bytes?.isEmpty == false)
        }
    }

    @Test func `a reset is one`() throws {
        let listener = try Blocking.TCP.listen(on: "127.0.0.1:0")
        var near = try Blocking.TCP.connect(to: "\(listener.address)", timeout: patience)
        let far = try listener.accept(timeout: patience)
        try near.write("unread")
        DetachedThread.sleep(.milliseconds(20))
        far.close()
        #expect(kind { _ = try near.read(timeout: patience) } == .reset)
    }

    @Test func `refused, in use, no such name, nobody comes`() throws {
        let listener = try Blocking.TCP.listen(on: "127.0.0.1:0")
        let place = "\(listener.address)"
        #expect(kind { _ = try Blocking.TCP.listen(on: place) } == .addressInUse)
        #expect(kind { _ = try listener.accept(timeout: .milliseconds(20)) } == .timedOut)
        #expect(kind { _ = try Blocking.TCP.connect(to: "nowhere") } == .unresolvable)
        #expect(kind { _ = try Blocking.TCP.connect(to: "127.0.0.1:1", timeout: patience) } == .refused)
    }
}
