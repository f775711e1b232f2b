import MartletBytes
import MartletJSON

/// libFuzzer target: what a page may say at `/ws`, and the JSON under it. A run traps when a reader does, when reading the same again gives something
/// else, when an id that comes back makes an answer that is no JSON, and when text that is written is not read again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPageOperation(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    walk(bytes)
    write(bytes)
    // A machine has seen that it is UTF-8.
    guard String(validating: bytes, as: UTF8.self) != nil else { return 0 }
    var operation = WebSocketOperation()
    let first = read(&operation, bytes), again = read(&operation, bytes)
    precondition(first == again, "what was read before is in it")
    var answer = ByteBuffer()
    answer.append(utf8: "{\"op\":\"ok\",\"id\":" as StaticString)
    if operation.id.isEmpty { answer.append(UInt8(ascii: "0")) } else { answer.append(operation.id.span) }
    answer.append(UInt8(ascii: "}"))
    precondition(isJSON(answer.span.array), "an answer that is no JSON")
    for text in [operation.topic.span.array, operation.reply.span.array, operation.user.span.array] {
        precondition(String(validating: text, as: UTF8.self) != nil, "text that is not UTF-8")
    }
    if first.refusal == nil { precondition(isJSON(bytes) && operation.kind != nil, "what is no JSON was taken") }
    return 0
}

private struct Seen: Equatable {
    var texts: [[UInt8]] = []
    var numbers: [Int] = []
    var refusal: String?
}

private func read(_ operation: inout WebSocketOperation, _ bytes: [UInt8]) -> Seen {
    var seen = Seen()
    do throws(WebSocketOperationRefusal) { try operation.read(bytes.span) } catch { seen.refusal = error.description }
    seen.texts = [
        operation.id.span.array, operation.topic.span.array, operation.body.span.array, operation.reply.span.array, operation.correlation.span.array,
        operation.user.span.array, operation.password.span.array,
    ]
    let flags = [operation.hasTopic, operation.hasBody, operation.hasReply, operation.hasUser, operation.retains]
    seen.numbers = flags.map { $0 ? 1 : 0 } + [Int(operation.qos), operation.timeout ?? -1]
    precondition(operation.qos < 2 && operation.id.count <= WebSocketOperation.idMax + 2)
    return seen
}

/// All tokens of any bytes; ranges lie within.
private func walk(_ bytes: [UInt8]) {
    var reader = JSONReader(bytes.span), said = ByteBuffer()
    do throws(JSONViolation) {
        while let token = try reader.next() {
            switch token {
            case .name(let string), .text(let string):
                said.removeAll()
                string.append(in: bytes.span, to: &said)
                precondition(said.count <= Int(string.range.count))
            case .number(let range): precondition(!range.isEmpty && range.end <= bytes.count)
            default: break
            }
        }
    } catch {}
}

private func isJSON(_ bytes: [UInt8]) -> Bool {
    var reader = JSONReader(bytes.span)
    do throws(JSONViolation) {
        while try reader.next() != nil {}
        return true
    } catch { return false }
}

/// Bytes as a string of JSON, and as Base 64, come back.
private func write(_ bytes: [UInt8]) {
    var json = ByteBuffer()
    json.append(json: bytes.span)
    let written = json.span.array
    var reader = JSONReader(written.span), said = ByteBuffer()
    guard case .text(let string)? = try? reader.next() else { preconditionFailure("what was written is no string") }
    string.append(in: written.span, to: &said)
    precondition(said.span.array == bytes, "what was written is another string")
    precondition(Base64.bytes(Array(Base64.text(bytes).utf8)) == bytes)
    if let decoded = Base64.bytes(bytes) { precondition(Array(Base64.text(decoded).utf8) == bytes, "two ways to write the same") }
}
