import CLinux

/// A layer that is written without pointers, for where there are none.
open class SpanLayer: StreamLayer {
    /// Takes all of `bytes` and appends what they hold to `plain`; the rest is as of the other `unseal`.
    open func unseal(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) {}

    /// Takes all of `plain` and appends it to `sealed`.
    open func seal(_ plain: Span<UInt8>) {}

    public final override func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int {
        let area = UnsafeMutableBufferPointer(start: plain.assumingMemoryBound(to: UInt8.self), count: count + Self.heldMax)
        var output = OutputSpan(buffer: area, initializedCount: 0)
        unseal(Span(_unsafeStart: bytes.assumingMemoryBound(to: UInt8.self), count: count), into: &output)
        return output.finalize(for: area)
    }

    public final override func seal(_ plain: UnsafeRawPointer, count: Int) {
        seal(Span(_unsafeStart: plain.assumingMemoryBound(to: UInt8.self), count: count))
    }
}

extension OutputSpan<UInt8> {
    /// Traps where there is no room.
    @_lifetime(self: copy self)
    public mutating func append(_ bytes: Span<UInt8>) {
        precondition(bytes.count <= freeCapacity)
        guard !bytes.isEmpty else { return }
        withUnsafeMutableBufferPointer { area, count in
            bytes.withUnsafeBufferPointer { _ = memcpy(area.baseAddress! + count, $0.baseAddress!, $0.count) }
            count += bytes.count
        }
    }
}
