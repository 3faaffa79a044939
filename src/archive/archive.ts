/** Where segments are read from. An object is one file or one key; it only grows, or is written once. */

export interface ArchiveObject {
  /** Path within the archive, with `/`; of one version of several, with that version. */
  readonly name: string
  readonly size: number
  readonly modifiedMs: number
  /** The store says that it is deleted, and has it all the same. */
  readonly hidden?: boolean
}

export interface ObjectReader {
  /** Size when it was opened. Bytes that came later are not seen. */
  readonly size: number
  /** Bytes from `position`; fewer than `length` only at the end. */
  read(position: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

export interface Archive {
  /** For messages: the path as the user gave it. */
  readonly name: string
  /**
   * Objects by name, in order, found one by one; versions of one object oldest first. An object that vanishes meanwhile is left out.
   * @param after leaves out names up to this one
   */
  list(after?: string): AsyncIterable<ArchiveObject>
  /**
   * Where listing is dear: the name after which everything must be listed that may have come since `newest` was the greatest.
   * @returns undefined when that cannot be told from names
   */
  readonly resumeAfter?: (newest: string) => string | undefined
  /** Names may carry a version: objects that differ in nothing else are versions of one. */
  readonly versioned?: boolean
  /** How long a listing is believed, ms. */
  readonly freshMs?: number
  /** @returns undefined when the object is no longer there. */
  open(name: string): Promise<ObjectReader | undefined>
}

/** Something in an archive that could not be read. Reading goes on after it. */
export interface Finding {
  readonly kind: 'finding'
  readonly object: string
  readonly offset: number
  readonly reason: FindingReason
  readonly detail: string
  /** What the damaged member's index claims, when it could be read. A claim, not a fact. */
  readonly claims?: { readonly writer: string; readonly firstSeq: number; readonly lastSeq: number }
}

export type FindingReason = 'cut' | 'damaged' | 'oversize' | 'unreadable' | 'line' | 'index' | 'version' | 'unsorted' | 'hidden' | 'shadowed'
