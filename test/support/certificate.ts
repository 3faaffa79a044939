/** Certificates for tests: an authority, and leaves for names and addresses. */

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import forge from 'node-forge'

export interface Authority {
  readonly cert: string
  issue(names: readonly string[], validForMs?: number, sinceMs?: number): { readonly cert: string; readonly key: string }
}

const DAY_MS = 86_400_000

export function createAuthority(): Authority {
  const { publicKey, privateKey } = keys()
  const subject = [{ name: 'commonName', value: `steno test ${randomBytes(4).toString('hex')}` }]
  const build = (key: string, about: { readonly subject: forge.pki.CertificateField[]; readonly extensions: object[]; readonly validForMs: number; readonly sinceMs?: number }): string => {
    const cert = forge.pki.createCertificate()
    cert.publicKey = forge.pki.publicKeyFromPem(key)
    // A positive number: the first bit of it is 0.
    cert.serialNumber = `01${randomBytes(15).toString('hex')}`
    cert.validity.notBefore = new Date(Date.now() - (about.sinceMs ?? 60_000))
    cert.validity.notAfter = new Date(Date.now() + about.validForMs)
    cert.setSubject(about.subject)
    cert.setIssuer(subject)
    cert.setExtensions(about.extensions)
    cert.sign(forge.pki.privateKeyFromPem(privateKey), forge.md.sha256.create())
    return forge.pki.certificateToPem(cert)
  }
  return {
    cert: build(publicKey, { subject, extensions: [{ name: 'basicConstraints', cA: true, critical: true }, { name: 'keyUsage', keyCertSign: true, critical: true }], validForMs: DAY_MS }),
    issue: (names, validForMs = DAY_MS, sinceMs = 60_000) => {
      const leaf = keys()
      const altNames = names.map(name => (isIP(name) !== 0 ? { type: 7, ip: name } : { type: 2, value: name }))
      const extensions = [{ name: 'basicConstraints', cA: false }, { name: 'extKeyUsage', serverAuth: true, clientAuth: true }, { name: 'subjectAltName', altNames }]
      return { cert: build(leaf.publicKey, { subject: [{ name: 'commonName', value: names[0] ?? '' }], extensions, validForMs, sinceMs }), key: leaf.privateKey }
    },
  }
}

function keys(): { readonly publicKey: string; readonly privateKey: string } {
  return generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' } })
}
