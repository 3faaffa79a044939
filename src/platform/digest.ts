/** A short digest of a text: names its state, and tells two texts apart. Nobody must be able to make one of their choice pass for another: those are compared in whole. */

import { hash } from 'node:crypto'

/** The first 16 hex digits of SHA-256. */
export function shortDigest(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 16)
}
