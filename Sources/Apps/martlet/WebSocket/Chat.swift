import MartletBytes
import MartletWebSocket
import Synchronization

/// The chat of `martlet ws serve chat`. Two wires, one conversation: who asks for no subprotocol speaks the course's (plain text in, `[PORT]: text` out to
/// the others); our page asks for `martlet.chat`, which is JSON and knows names, who is there, and what was missed.
///
/// ```
/// page -> {"type":"join","name":"Ann","session":"…","after":41}   {"type":"say","text":"…"}
/// page <- {"type":"welcome","name":"Ann","people":[…],"guests":2,"messages":[…]}   {"type":"said","id":42,"name":"Ann","text":"…","at":1700000000000}
///         {"type":"joined","name":"Bob"}   {"type":"left","name":"Bob"}   {"type":"guests","count":3}   {"type":"ping"}   {"type":"error","text":"…"}
/// ```
/// A page that comes back with its session within `patience` has not been away for the others, and gets what it missed. A page cannot hear WebSocket's
/// pings, so that it can tell a dead connection by `ping`s that do not come. Each message has an id of its own, above those of any server before; on several
/// loops one may come behind its successor, or in the welcome too.
final class Chat: Sendable {
    static let subprotocol = "martlet.chat"
    /// How long a page may be away before the others are told.
    static let patience = Duration.seconds(5)
    static let heartbeat = Duration.seconds(15)
    private static let nameMax = 40, textMax = 16 << 10, historyMax = 200, historyBytesMax = 1 << 18

    private struct Person {
        var name: String
        /// Pages that are open: a session may be in two windows.
        var pageCount = 0
        var leftAt: ContinuousClock.Instant?
    }
    private struct Said {
        let id: Int
        let name: String
        let text: String
        let at: Int64
    }
    private struct State {
        /// By session.
        var people: [String: Person] = [:]
        /// The session of each page that has joined, by its connection.
        var pages: [UInt64: String] = [:]
        var history: [Said] = []
        var historyBytes = 0
        var lastID: Int
    }
    private let state: Mutex<State>
    /// The course's clients, and the pages that have joined.
    let guests = WebSocketRoom(), pages = WebSocketRoom()
    private let wallTime: @Sendable () -> Int64

    /// `wallTime`: milliseconds since 1970.
    init(wallTime: @escaping @Sendable () -> Int64) {
        self.wallTime = wallTime
        // A page that was here before a restart asks for what is behind the last that it has seen.
        state = Mutex(State(lastID: Int(wallTime())))
    }

    var events: WebSocketEvents {
        WebSocketEvents(
            opened: { [self] peer, _ in
                guard peer.subprotocol == nil else { return }
                guests.join(peer)
                tellGuests()
            },
            closed: { [self] peer, _ in
                if peer.subprotocol == nil { tellGuests() } else { pageLeft(peer.id) }
            },
            received: { [self] peer, _, content in
                if peer.subprotocol == nil { guestSaid(peer, content) } else { pageSaid(peer, content) }
            })
    }

    /// Tells the pages that the connection is alive, and who has not come back. Until it is cancelled.
    func run() async {
        var beats = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            beats += 1
            if Duration.seconds(beats) >= Self.heartbeat {
                beats = 0
                tell(.object([("type", .text("ping"))]))
            }
            let gone = state.withLock { state -> [String] in
                let now = ContinuousClock.now
                let gone = state.people.filter { $0.value.leftAt.map { now - $0 >= Self.patience } ?? false }
                for session in gone.keys { state.people[session] = nil }
                return gone.values.map(\.name)
            }
            for name in gone { tell(.object([("type", .text("left")), ("name", .text(name))])) }
        }
    }

    // MARK: The course's wire

    private func guestSaid(_ peer: WebSocketPeer, _ content: Span<UInt8>) {
        let bytes = content.array
        guard let text = String(validating: bytes, as: UTF8.self) else { return peer.close(.unsupported, reason: "the chat takes text") }
        let name = "\(peer.address.port)"
        guests.broadcast(.text, (Array("[\(name)]: ".utf8) + bytes).span, except: peer)
        tellSaid(name, text)
    }

    private func tellGuests() { if pages.count > 0 { tell(.object([("type", .text("guests")), ("count", .number("\(guests.count)"))])) } }

    // MARK: The page's

    private func pageSaid(_ peer: WebSocketPeer, _ content: Span<UInt8>) {
        let parser = JSONParser(content.array)
        guard case .object(let members)? = parser.whole() else { return refuse(peer, "that is no JSON object") }
        let message = Dictionary(members, uniquingKeysWith: { $1 })
        func text(_ name: String) -> String? { if case .text(let text)? = message[name] { text } else { nil } }
        switch text("type") {
        case "join":
            var after = Int.max
            if case .number(let digits)? = message["after"] { after = Int(digits) ?? .max }
            join(peer, text("name") ?? "", session: text("session") ?? "", after: after)
        case "say":
            guard let name = state.withLock({ state in state.pages[peer.id].flatMap { state.people[$0]?.name } }) else { return refuse(peer, "join first") }
            guard let said = text("text"), !said.isEmpty, said.utf8.count <= Self.textMax else { return refuse(peer, "a text of 1 to \(Self.textMax) bytes") }
            guests.broadcast(.text("[\(peer.address.port)]: \(said)"))
            tellSaid(name, said)
        default: refuse(peer, "the types are join and say")
        }
    }

    private func refuse(_ peer: WebSocketPeer, _ reason: String) { peer.send(Self.json(.object([("type", .text("error")), ("text", .text(reason))]))) }

    private func join(_ peer: WebSocketPeer, _ wanted: String, session: String, after: Int) {
        let wanted = Self.name(wanted, peer)
        guard (16...64).contains(session.utf8.count) else { return refuse(peer, "a session is 16 to 64 characters that nobody else knows") }
        // Before it is told what there is: a message is in the welcome, or comes, or both.
        pages.join(peer)
        let (name, isNew, people, missed) = state.withLock { state -> (String, Bool, [String], [Said]) in
            let known = state.people[session]
            if state.pages[peer.id] == nil {
                state.pages[peer.id] = session
                let free = Self.free(wanted, in: state.people.values.map(\.name))
                state.people[session, default: Person(name: free)].pageCount += 1
            }
            state.people[session]?.leftAt = nil
            let missed = known == nil && after == .max ? state.history : state.history.filter { $0.id > after }
            return (state.people[session]?.name ?? wanted, known == nil, state.people.values.map(\.name).sorted(), missed)
        }
        peer.send(
            Self.json(
                .object([
                    ("type", .text("welcome")), ("name", .text(name)), ("people", .list(people.map { .text($0) })), ("guests", .number("\(guests.count)")),
                    ("messages", .list(missed.map(Self.said))),
                ])))
        if isNew { tell(.object([("type", .text("joined")), ("name", .text(name))])) }
    }

    private func pageLeft(_ id: UInt64) {
        state.withLock { state in
            guard let session = state.pages.removeValue(forKey: id) else { return }
            state.people[session]?.pageCount -= 1
            if state.people[session]?.pageCount == 0 { state.people[session]?.leftAt = .now }
        }
    }

    /// Without what a name must not have; who has none is called by the port.
    private static func name(_ wanted: String, _ peer: WebSocketPeer) -> String {
        let plain = String(String.UnicodeScalarView(wanted.unicodeScalars.map { isHidden($0) ? " " : $0 }))
        let name = String(plain.split(separator: " ").joined(separator: " ").prefix(nameMax))
        return name.isEmpty ? "\(peer.address.port)" : name
    }

    /// Controls, and what turns the direction of text or takes no room: a name is to look like itself.
    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .privateUse, .surrogate, .unassigned, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    private static func free(_ name: String, in taken: [String]) -> String {
        var free = name, number = 2
        while taken.contains(where: { $0.lowercased() == free.lowercased() }) {
            free = "\(name) \(number)"
            number += 1
        }
        return free
    }

    // MARK: Both

    private func tellSaid(_ name: String, _ text: String) {
        let at = wallTime()
        let said = state.withLock { state -> Said in
            state.lastID += 1
            let said = Said(id: state.lastID, name: name, text: text, at: at)
            state.history.append(said)
            state.historyBytes += text.utf8.count
            if state.history.count > 2 * Self.historyMax || state.historyBytes > 2 * Self.historyBytesMax { Self.trim(&state) }
            return said
        }
        if pages.count > 0 { tell(Self.said(said)) }
    }

    private static func trim(_ state: inout State) {
        var kept = 0, bytes = 0
        for said in state.history.reversed() where kept < historyMax && bytes + said.text.utf8.count <= historyBytesMax {
            kept += 1
            bytes += said.text.utf8.count
        }
        state.history.removeFirst(state.history.count - kept)
        state.historyBytes = bytes
    }

    private func tell(_ message: JSONValue) { pages.broadcast(.text(Self.json(message))) }

    private static func said(_ said: Said) -> JSONValue {
        .object([
            ("type", .text("said")), ("id", .number("\(said.id)")), ("name", .text(said.name)), ("text", .text(said.text)), ("at", .number("\(said.at)")),
        ])
    }

    private static func json(_ value: JSONValue) -> String {
        var bytes: [UInt8] = []
        value.append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
