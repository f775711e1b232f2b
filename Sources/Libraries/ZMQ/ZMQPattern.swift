public import MartletZMTPProtocol

/// A socket's pattern, which is a part of its type: a socket has the operations that its pattern has, and no others.
public protocol ZMQPattern: Sendable {
    static var type: ZMTPSocketType { get }
    /// Its peers speak no ZMTP.
    static var isRaw: Bool { get }
}

extension ZMQPattern {
    public static var isRaw: Bool { false }
}

/// Sends messages of one frame, of its own accord.
public protocol ZMQFrameSender: ZMQPattern {}
/// Sends messages of any number of frames, of its own accord.
public protocol ZMQSender: ZMQFrameSender {}
/// Takes messages as they come.
public protocol ZMQReceiver: ZMQPattern {}
/// Says what it wants of publishers.
public protocol ZMQSubscriber: ZMQReceiver {}

/// RFC 28: asks, and waits for the answer, before it asks again.
public struct ZMQReq: ZMQPattern { public static let type = ZMTPSocketType.req }
/// RFC 28: answers.
public struct ZMQRep: ZMQPattern { public static let type = ZMTPSocketType.rep }
/// RFC 28: asks and answers without waiting, in turn among its peers. What it sends to a REP begins with an empty frame.
public struct ZMQDealer: ZMQSender, ZMQReceiver { public static let type = ZMTPSocketType.dealer }
/// RFC 28: the first frame of a message names the peer that it came from, or goes to.
public struct ZMQRouter: ZMQSender, ZMQReceiver { public static let type = ZMTPSocketType.router }
/// RFC 29: to all who want what the first frame begins with.
public struct ZMQPub: ZMQSender { public static let type = ZMTPSocketType.pub }
/// RFC 29.
public struct ZMQSub: ZMQSubscriber { public static let type = ZMTPSocketType.sub }
/// RFC 29: a PUB that is told who wants what: messages of a byte, 1 or 0, and a prefix.
public struct ZMQXPub: ZMQSender, ZMQReceiver { public static let type = ZMTPSocketType.xpub }
/// RFC 29: a SUB that takes whatever comes, and sends to its publishers.
public struct ZMQXSub: ZMQSubscriber, ZMQSender { public static let type = ZMTPSocketType.xsub }
/// RFC 30: each message to one of those who pull, in turn.
public struct ZMQPush: ZMQSender { public static let type = ZMTPSocketType.push }
/// RFC 30.
public struct ZMQPull: ZMQReceiver { public static let type = ZMTPSocketType.pull }
/// RFC 31: one peer.
public struct ZMQPair: ZMQSender, ZMQReceiver { public static let type = ZMTPSocketType.pair }
/// Peers that know no ZeroMQ, over tcp and ipc: a message is a peer's routing id and bytes, as many as a read brought. An empty one says that a peer has
/// come, and then that it has gone; to send an empty one ends its connection. `noPeer` is thrown for a peer that is not there.
public struct ZMQStream: ZMQSender, ZMQReceiver {
    /// It routes as a ROUTER does.
    public static let type = ZMTPSocketType.router
    public static let isRaw = true
}
/// RFC 41: each message to one of its servers, in turn; messages of one frame, in any order.
public struct ZMQClient: ZMQFrameSender, ZMQReceiver { public static let type = ZMTPSocketType.client }
/// RFC 41: answers its clients, each by its number.
public struct ZMQServer: ZMQPattern { public static let type = ZMTPSocketType.server }
/// RFC 48: to all who have joined a message's group.
public struct ZMQRadio: ZMQPattern { public static let type = ZMTPSocketType.radio }
/// RFC 48: takes the messages to the groups that it joins.
public struct ZMQDish: ZMQPattern { public static let type = ZMTPSocketType.dish }

extension ZMQPattern where Self == ZMQReq { public static var req: ZMQReq { ZMQReq() } }
extension ZMQPattern where Self == ZMQRep { public static var rep: ZMQRep { ZMQRep() } }
extension ZMQPattern where Self == ZMQDealer { public static var dealer: ZMQDealer { ZMQDealer() } }
extension ZMQPattern where Self == ZMQRouter { public static var router: ZMQRouter { ZMQRouter() } }
extension ZMQPattern where Self == ZMQPub { public static var pub: ZMQPub { ZMQPub() } }
extension ZMQPattern where Self == ZMQSub { public static var sub: ZMQSub { ZMQSub() } }
extension ZMQPattern where Self == ZMQXPub { public static var xpub: ZMQXPub { ZMQXPub() } }
extension ZMQPattern where Self == ZMQXSub { public static var xsub: ZMQXSub { ZMQXSub() } }
extension ZMQPattern where Self == ZMQPush { public static var push: ZMQPush { ZMQPush() } }
extension ZMQPattern where Self == ZMQPull { public static var pull: ZMQPull { ZMQPull() } }
extension ZMQPattern where Self == ZMQPair { public static var pair: ZMQPair { ZMQPair() } }
extension ZMQPattern where Self == ZMQStream { public static var stream: ZMQStream { ZMQStream() } }
extension ZMQPattern where Self == ZMQClient { public static var client: ZMQClient { ZMQClient() } }
extension ZMQPattern where Self == ZMQServer { public static var server: ZMQServer { ZMQServer() } }
extension ZMQPattern where Self == ZMQRadio { public static var radio: ZMQRadio { ZMQRadio() } }
extension ZMQPattern where Self == ZMQDish { public static var dish: ZMQDish { ZMQDish() } }
