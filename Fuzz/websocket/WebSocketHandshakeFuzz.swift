import MartletBytes
import MartletWebSocketProtocol

/// libFuzzer target: the fields of a handshake. The first byte chooses which field the others are, and the options. A run traps when reading them does, and
/// when a client does not take what a server answered to its own offer.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHandshake(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let value = String(decoding: UnsafeBufferPointer(start: start + 1, count: count - 1), as: UTF8.self)
    let options: WebSocketDeflateOptions = start[0] & 4 == 0 ? .server : .client
    var request = WebSocketRequest(version: "13", key: "dGhlIHNhbXBsZSBub25jZQ==", host: "a")
    switch start[0] & 3 {
    case 0: request.extensions = value
    case 1: request.subprotocols = value
    case 2: request.origin = value
    default: request.key = value
    }
    let handshake = WebSocketServerHandshake(subprotocols: ["mqtt", "chat"], origins: .sameHost, deflate: options)
    if let (fields, agreement) = try? handshake.answer(request) {
        if let subprotocol = agreement.subprotocol { precondition(handshake.subprotocols.contains(subprotocol)) }
        if let agreed = agreement.deflate {
            precondition((8...15).contains(agreed.serverMaxWindowBits) && (8...15).contains(agreed.clientMaxWindowBits))
            precondition(fields.contains { $0.name == "Sec-WebSocket-Extensions" })
        }
    }
    // A server's answer to a client's offer.
    let client = WebSocketClientHandshake(nonce: (0x706D_6173_2065_6874, 0x6563_6E6F_6E20_656C), subprotocols: ["mqtt"], deflate: options)
    let accept = start[0] & 8 == 0 ? "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" : value
    if let agreement = try? client.agree(accept: accept, subprotocol: nil, extensions: value), let agreed = agreement.deflate {
        precondition((8...15).contains(agreed.serverMaxWindowBits) && (8...15).contains(agreed.clientMaxWindowBits))
    }
    return 0
}
