/** Authorities and leaves (X.509). Node makes keys, off the event loop, but cannot sign certificates; node-forge signs, and knows RSA only. */

import { generateKeyPair, randomBytes, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { promisify } from 'node:util'

import type { pki } from 'node-forge'

export interface Authority {
  /** PEM. */
  readonly cert: string
  readonly key: string
  /** ms since epoch. */
  readonly notBefore: number
  readonly notAfter: number
}

export interface Leaf extends Authority {
  /** Names and addresses that it is for. */
  readonly names: readonly string[]
}

/** A certificate is valid from so long before it was made, for machines whose clock is behind. */
export const SKEW_MS = 60_000
const BITS = 2048
const generate = promisify(generateKeyPair)

/** @param now ms since epoch */
export async function issueAuthority(now: number, validForMs: number): Promise<Authority> {
  const { publicKey, privateKey } = await generateKeys()
  // A name of its own: two authorities of one name would have to be told apart by their keys.
  const subject = [{ name: 'commonName', value: `steno injector ${randomBytes(6).toString('hex')}` }]
  const extensions = [{ name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true }, { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true }, { name: 'subjectKeyIdentifier' }]
  const cert = await sign({ publicKey, subject, issuer: subject, extensions, now, notAfter: now + validForMs, signingKey: privateKey })
  return { cert, key: privateKey, ...validity(cert) }
}

/** Ends with its authority at the latest. */
export async function issueLeaf(authority: Authority, names: readonly string[], now: number, validForMs: number): Promise<Leaf> {
  const { pki: forge } = (await import('node-forge')).default
  const { publicKey, privateKey } = await generateKeys()
  const altNames = names.map(name => (isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name }))
  const extensions = [{ name: 'basicConstraints', cA: false, critical: true }, { name: 'keyUsage', digitalSignature: true, critical: true }, { name: 'extKeyUsage', serverAuth: true }, { name: 'subjectAltName', altNames }]
  const issuer = forge.certificateFromPem(authority.cert).subject.attributes
  // A common name has 64 characters at most; clients look at the alternative names only.
  const cert = await sign({ publicKey, subject: [{ name: 'commonName', value: 'steno injector' }], issuer, extensions, now, notAfter: Math.min(now + validForMs, authority.notAfter), signingKey: authority.key })
  return { cert, key: privateKey, ...validity(cert), names }
}

/** ms since epoch. Throws when the text is no certificate. */
export function validity(cert: string): { readonly notBefore: number; readonly notAfter: number } {
  const parsed = new X509Certificate(cert)
  return { notBefore: Date.parse(parsed.validFrom), notAfter: Date.parse(parsed.validTo) }
}

/** As they stand in the certificate. Throws when the text is no certificate. */
export function namesOf(cert: string): readonly string[] {
  return (new X509Certificate(cert).subjectAltName ?? '').split(', ').map(each => each.replace(/^(?:DNS|IP Address):/, ''))
}

interface ToSign {
  readonly publicKey: string
  readonly subject: pki.CertificateField[]
  readonly issuer: pki.CertificateField[]
  readonly extensions: object[]
  readonly now: number
  readonly notAfter: number
  readonly signingKey: string
}

async function sign({ publicKey, subject, issuer, extensions, now, notAfter, signingKey }: ToSign): Promise<string> {
  const { pki: forge, md } = (await import('node-forge')).default
  const cert = forge.createCertificate()
  cert.publicKey = forge.publicKeyFromPem(publicKey)
  // Positive: the first bit of it is 0.
  cert.serialNumber = `01${randomBytes(15).toString('hex')}`
  cert.validity.notBefore = new Date(now - SKEW_MS)
  cert.validity.notAfter = new Date(notAfter)
  cert.setSubject(subject)
  cert.setIssuer(issuer)
  cert.setExtensions(extensions)
  cert.sign(forge.privateKeyFromPem(signingKey), md.sha256.create())
  return forge.certificateToPem(cert)
}

async function generateKeys(): Promise<{ readonly publicKey: string; readonly privateKey: string }> {
  return await generate('rsa', { modulusLength: BITS, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' } })
}
