internal import MartletBytes

/// Frames to bytes, for both roles. Not here: who may send what when (the session).
enum AMQPEncoder {
    /// One method frame; retracted when it is longer than `frameMax` or cannot be written.
    static func method(_ method: AMQPMethod<[UInt8]>, channel: UInt16, frameMax: UInt32, into output: inout ByteBuffer) throws(AMQPMisuse) {
        let start = output.count
        do throws(AMQPMisuse) {
            output.append(AMQPFrame.method)
            output.append(channel)
            output.append(0 as UInt32)
            output.append(method.id.rawValue)
            try method.encode(into: &output)
            let size = output.count - start - 7
            guard size + AMQPFrame.overhead <= Int(frameMax) else { throw .frameTooLarge }
            output.set(UInt16(size >> 16), at: start + 3)
            output.set(UInt16(size & 0xFFFF), at: start + 5)
            output.append(AMQPFrame.endOctet)
        } catch {
            output.retract(output.count - start)
            throw error
        }
    }

    /// A method whose fields are `count` bytes, its content header and its body frames, in one piece. `properties`: flags and values, or nothing.
    /// Method and content header fit into `frameMax`, which is at least 4,096.
    @inline(__always)
    static func message(
        _ id: AMQPMethodID, channel: UInt16, count: Int, properties: Span<UInt8>, body: Span<UInt8>, frameMax: UInt32, into output: inout ByteBuffer,
        _ fields: (inout ByteWriter) -> Void
    ) {
        let wholeCount = body.count &+ AMQPFrame.overhead <= Int(frameMax) ? body.count : 0
        let propertyCount = max(2, properties.count)
        let capacity = 32 &+ count &+ propertyCount &+ (wholeCount > 0 ? AMQPFrame.overhead &+ wholeCount : 0)
        output.write(capacity: capacity) { writer in
            writer.begin(id, channel, count)
            fields(&writer)
            writer.next(AMQPFrame.header, channel, 12 &+ propertyCount)
            writer.write(UInt32(id.classID) << 16)
            writer.write(UInt64(truncatingIfNeeded: body.count))
            if properties.isEmpty { writer.write(0 as UInt16) } else { writer.write(properties) }
            if wholeCount > 0 {
                writer.next(AMQPFrame.body, channel, wholeCount)
                writer.write(body)
            }
            writer.write(AMQPFrame.endOctet)
        }
        if body.count > wholeCount { pieces(of: body, pieceMax: Int(frameMax) - AMQPFrame.overhead, channel: channel, into: &output) }
    }

    @inline(never)
    private static func pieces(of body: Span<UInt8>, pieceMax: Int, channel: UInt16, into output: inout ByteBuffer) {
        let frames = (body.count + pieceMax - 1) / pieceMax
        output.write(capacity: body.count + frames * AMQPFrame.overhead) { writer in
            for frame in 0..<frames {
                let piece = body.extracting(frame * pieceMax..<min(body.count, (frame + 1) * pieceMax))
                writer.write(AMQPFrame.body)
                writer.write(channel)
                writer.write(UInt32(truncatingIfNeeded: piece.count))
                writer.write(piece)
                writer.write(AMQPFrame.endOctet)
            }
        }
    }

    static func ack(channel: UInt16, deliveryTag: UInt64, multiple: Bool, into output: inout ByteBuffer) {
        output.write(capacity: AMQPFrame.overhead + 13) { writer in
            writer.begin(.basicAck, channel, 9)
            writer.write(deliveryTag)
            writer.write(multiple ? 1 as UInt8 : 0)
            writer.write(AMQPFrame.endOctet)
        }
    }

    /// Whether the content header with these properties is a frame.
    static func fits(propertyCount: Int, frameMax: UInt32) -> Bool { AMQPFrame.overhead &+ 12 &+ max(2, propertyCount) <= Int(frameMax) }

    static func heartbeat(into output: inout ByteBuffer) { output.append(UInt64(AMQPFrame.heartbeat) << 56 | UInt64(AMQPFrame.endOctet)) }
}

extension ByteWriter {
    /// The head of a method frame whose fields are `count` bytes, and the ids.
    @inline(__always)
    mutating func begin(_ id: AMQPMethodID, _ channel: UInt16, _ count: Int) {
        write(AMQPFrame.method)
        write(channel)
        write(UInt32(truncatingIfNeeded: 4 &+ count))
        write(id.rawValue)
    }

    /// The end octet of one frame and the head of the next, which are eight bytes.
    @inline(__always)
    mutating func next(_ type: UInt8, _ channel: UInt16, _ size: Int) {
        let head = UInt64(type) << 48 | UInt64(channel) << 32 | UInt64(UInt32(truncatingIfNeeded: size))
        write(UInt64(AMQPFrame.endOctet) << 56 | head)
    }

    /// At most 255 bytes.
    @inline(__always)
    mutating func write(shortString text: Span<UInt8>) {
        write(UInt8(truncatingIfNeeded: text.count))
        write(text)
    }
}
