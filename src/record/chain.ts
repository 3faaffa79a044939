/**
 * The hash chain over the numbered frames of one writer.
 * `leaf(i) = SHA-256(line bytes i, without the newline)`, `h(i) = SHA-256(h(i-1) ‖ leaf(i))`, `h(-1) = SHA-256("steno/1" ‖ writer)`.
 * Where packing puts its borders never enters the chain, so frames packed anew give the same heads.
 */

/** SHA-256 of bytes, 32 bytes. Passed in, so that the same code runs in a browser. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array

/** `h(-1)` of a writer. */
export function chainStart(sha256: Sha256, writer: string): Uint8Array {
  return sha256(new TextEncoder().encode(`steno/1${writer}`))
}

/** `h(i)` from `h(i-1)` and `leaf(i)`, 32 bytes each. */
export function chainNext(sha256: Sha256, previous: Uint8Array, leaf: Uint8Array): Uint8Array {
  const both = new Uint8Array(64)
  both.set(previous, 0)
  both.set(leaf, 32)
  return sha256(both)
}
