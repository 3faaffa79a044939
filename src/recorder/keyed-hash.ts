/** Hashes of what is not kept (DESIGN section 4): an HMAC under the installation's key, or under a key that lives and dies with the writer. */

import { createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { StenoError } from '../errors.ts'
import type { KeyedHash } from '../record/redact.ts'

const MIN_KEY_BYTES = 16

/** 32 hex digits of HMAC-SHA-256. */
export function createKeyedHash(key: Uint8Array): KeyedHash {
  return value => createHmac('sha256', key).update(value).digest('hex').slice(0, 32)
}

/** @param keyFile file with at least 16 random bytes, equal on all replicas; undefined makes a key that is never stored */
export function readKey(keyFile: string | undefined): Uint8Array {
  if (keyFile === undefined) return randomBytes(32)
  let key: Buffer
  try {
    key = readFileSync(keyFile)
  } catch (cause) {
    throw new StenoError('config.invalid', `cannot read the key file ${keyFile}; create it with: head -c 32 /dev/urandom > ${keyFile}`, { cause })
  }
  if (key.length < MIN_KEY_BYTES) throw new StenoError('config.invalid', `the key file ${keyFile} holds ${key.length} bytes; at least ${MIN_KEY_BYTES} random ones are needed`)
  return key
}
