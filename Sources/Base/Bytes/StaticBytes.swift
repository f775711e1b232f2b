extension StaticString {
    /// The literal's UTF-8.
    @inlinable @inline(__always) public var bytes: Span<UInt8> {
        @_lifetime(immortal) get {
            let bytes = Span<UInt8>(_unsafeStart: utf8Start, count: utf8CodeUnitCount)
            return _overrideLifetime(bytes, borrowing: ())
        }
    }
}
