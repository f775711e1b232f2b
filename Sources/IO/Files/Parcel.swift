public import MartletBytes

/// A buffer on its way to another thread. Whoever takes it out is its owner; that happens once.
public final class Parcel: @unchecked Sendable {  // one thread fills it, one takes it, never at once
    private var contents: ByteBuffer

    public init(_ contents: consuming ByteBuffer) { self.contents = contents }

    /// Called once, by the receiver.
    public func take() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &contents)
        return taken
    }
}
