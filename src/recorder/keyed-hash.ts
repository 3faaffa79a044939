/** Hashes of what is not kept (`docs/recording-format.md`): an HMAC under the installation's key, or under a key that lives and dies with the writer. */

import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { StenoError } from '../errors.ts'
import type { KeyedHash } from '../record/redact.ts'
import { remembered } from './remembered.ts'

const MIN_KEY_BYTES = 16
const MAX_KEY_BYTES = 64 * 1024

/** 32 hex digits of HMAC-SHA-256. */
export function createKeyedHash(key: Uint8Array): KeyedHash {
  const secret = createSecretKey(key)
  return remembered(value => createHmac('sha256', secret).update(value).digest('hex').slice(0, 32))
}

/** @param keyFile file with at least 16 random bytes, equal on all replicas; undefined makes a key that is never stored */
export function readKey(keyFile: string | undefined): Uint8Array {
  if (keyFile === undefined) return randomBytes(32)
  let key: Buffer
  try {
    // Not a device or a pipe, which may never end.
    const { size } = statSync(keyFile)
    if (!statSync(keyFile).isFile() || size > MAX_KEY_BYTES) throw new StenoError('config.invalid', `the key file ${keyFile} must be a plain file of at most ${MAX_KEY_BYTES} bytes; create one with: head -c 32 /dev/urandom > FILE`)
    key = readFileSync(keyFile)
  } catch (cause) {
    if (cause instanceof StenoError) throw cause
    throw new StenoError('config.invalid', `cannot read the key file ${keyFile}; create it with: head -c 32 /dev/urandom > ${keyFile}`, { cause })
  }
  if (key.length < MIN_KEY_BYTES) throw new StenoError('config.invalid', `the key file ${keyFile} holds ${key.length} bytes; at least ${MIN_KEY_BYTES} random ones are needed`)
  return key
}
