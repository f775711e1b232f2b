import MartletClient
import Testing

/// What the clients share.
@Suite(.timeLimit(.minutes(10))) struct ClientPieceTests {
    enum Failure: ClientFailure, Equatable { case cancelled, other }
    final class Body {}

    @Test func `a line keeps its order over its compaction, and keeps nothing that has left it`() {
        var line = Line<Body>()
        var numbers = Line<Int>()
        weak var first: Body?
        do {
            let body = Body()
            first = body
            line.append(body)
            line.append(Body())
        }
        #expect(first != nil)
        line.removeFirst()
        #expect(first == nil && line.count == 1)
        numbers.append(contentsOf: Array(0..<1_000))
        for number in 0..<700 { #expect(numbers.popFirst() == number) }
        for number in 1_000..<2_000 { numbers.append(number) }
        #expect(numbers[0] == 700 && numbers.count == 1_300)
        #expect(numbers.remove(at: 3) == 703 && numbers.remove(at: 0) == 700)
        #expect(numbers.exchange(0, with: -1) == 701 && numbers.first == -1)
        #expect(numbers.removeAll() == [-1, 702] + (704..<2_000) && numbers.isEmpty && numbers.popFirst() == nil)
    }

    @Test func `a reply is resolved once, and abandoned by a cancelled task`() async {
        let reply = Reply<Int, Failure>()
        reply.resolve(.success(1))
        reply.resolve(.failure(.other))
        let value = try? await reply.value()
        #expect(value == 1)
        let abandoned = Reply<Int, Failure>()
        let task = Task { () -> Failure? in
            do throws(Failure) { _ = try await abandoned.value() } catch { return error }
            return nil
        }
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(abandoned.isAbandoned)
    }

    @Test func `all that wait for a monitor look again at each change`() async {
        let monitor = Monitor<Int, Failure>(0)
        let tasks = (1...3).map { wanted in Task { try await monitor.when { $0 >= wanted ? $0 : nil } } }
        for number in 1...3 {
            monitor.update { $0 = number }
            _ = try? await tasks[number - 1].value
        }
        for (index, task) in tasks.enumerated() { #expect(((try? await task.value) ?? 0) > index) }
        #expect(await monitor.whenever { $0 } == 3)
    }

    @Test func `addresses are taken apart, and what is wrong is said without the password`() throws {
        let place = try ServerAddress("x://a%40b:c%2Fd@[::1]:99/p/q")
        #expect(place.scheme == "x" && place.userName == "a@b" && place.password == "c/d" && place.host == "::1" && place.port == 99)
        #expect(place.path == "p/q" && place.hasPath && place.shown == "…@[::1]:99/p/q")
        let bare = try ServerAddress("x://h")
        #expect(bare.userName == nil && bare.port == nil && !bare.hasPath)
        for wrong in ["h", "x://", "x://u:p@", "x://h:", "x://h:99999", "x://[::1]x", "x://%zz@h"] {
            #expect(throws: ServerAddress.Unreadable.self) { try ServerAddress(wrong) }
        }
    }
}
