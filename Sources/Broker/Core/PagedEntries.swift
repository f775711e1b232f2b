import MartletBytes

/// Entries of a queue that are in the journal alone: what has to be known to read them again, or to end them unread, in some five bytes each.
/// First in, first out. Not here: when (Paging.swift).
/// ```
/// segment differs from the one before: 0 · segment 4 · offset 4 · ordinal 4, else: offset - the offset before
/// · ordinal - the ordinal before · bytes of the message        variable length, 7 bits a byte, the lowest first
/// ```
struct PagedEntries: ~Copyable {
    struct Place: BitwiseCopyable, Equatable {
        var name = JournalName.none
        /// Of its record in the segment.
        var offset: UInt32 = 0
        /// Of its address, properties and body.
        var byteCount: UInt32 = 0
    }
    private var encoded = ByteBuffer()
    private var last = Place()
    private var before = Place()
    private(set) var count = 0
    /// Of all its messages.
    private(set) var byteCount = 0

    var isEmpty: Bool { count == 0 }

    mutating func append(_ place: Place) {
        // Behind an earlier record, as in a segment that was compacted, is another beginning.
        if place.name.segment != last.name.segment || place.offset < last.offset || place.name.ordinal < last.name.ordinal {
            encoded.append(0 as UInt8)
            encoded.append(place.name.segment)
            encoded.append(place.offset)
            encoded.append(place.name.ordinal)
        } else {
            appendNumber(place.offset - last.offset + 1)
            appendNumber(place.name.ordinal - last.name.ordinal)
        }
        appendNumber(place.byteCount)
        last = place
        count += 1
        byteCount += Int(place.byteCount)
    }

    mutating func removeFirst() -> Place {
        precondition(count > 0)
        var reader = ByteReader(encoded.span)
        var place = before
        let step = Self.number(&reader)
        if step == 0 {
            place.name = JournalName(segment: reader.readUInt32()!, ordinal: 0)
            place.offset = reader.readUInt32()!
            place.name = JournalName(segment: place.name.segment, ordinal: reader.readUInt32()!)
        } else {
            place.offset += step - 1
            place.name = place.name.advanced(by: Int(Self.number(&reader)))
        }
        place.byteCount = Self.number(&reader)
        let used = reader.offset
        encoded.consume(used)
        before = place
        count -= 1
        byteCount -= Int(place.byteCount)
        if count == 0 {
            encoded = ByteBuffer()
            (last, before) = (Place(), Place())
        }
        return place
    }

    private mutating func appendNumber(_ number: UInt32) {
        var rest = number
        while rest > 0x7F {
            encoded.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        encoded.append(UInt8(rest))
    }

    private static func number(_ reader: inout ByteReader) -> UInt32 {
        var number: UInt32 = 0, shift: UInt32 = 0
        while true {
            let byte = reader.readUInt8()!
            number |= UInt32(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return number }
            shift += 7
        }
    }
}
