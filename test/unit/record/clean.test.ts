import { expect } from 'chai'

import { cleanFrame, isSecretName } from '../../../src/record/clean.ts'
import { parseLine } from '../../../src/record/parse-line.ts'
import { frameLine } from '../../support/build-recording.ts'

const cleaned = (fields: Record<string, unknown>): { readonly body: unknown; readonly changes: number } => {
  const parsed = parseLine(frameLine('w', 0, { kind: 'http', from: 'client', ...fields }))
  if (parsed.kind !== 'frame') throw new Error(JSON.stringify(parsed))
  const { frame, changes } = cleanFrame(parsed.frame)
  return { body: 'body' in frame ? frame.body : undefined, changes }
}

describe('cleanFrame()', () => {
  const cases: readonly [string, string, string][] = [
    ['a password', '{"a":1.10, "password" : "x\\"y", "b":2}', '{"a":1.10, "password" : "[cleaned]", "b":2}'],
    ['a number', '{"api_key":12345}', '{"api_key":"[cleaned]"}'],
    ['an object and an array', '{"credentials":{"a":["}",1]},"Set-Cookie":["a","b"],"z":[]}', '{"credentials":"[cleaned]","Set-Cookie":"[cleaned]","z":[]}'],
    ['JSON in a string', '{"text":"{\\"clientSecret\\":\\"x\\"}"}', '{"text":"{\\"clientSecret\\":\\"[cleaned]\\"}"}'],
    ['a value that is cut', '{"private_key":"abc', '{"private_key":"[cleaned]"'],
    ['a value far from its name', `{"password"${' '.repeat(500)}:\n"x"}`, `{"password"${' '.repeat(500)}:\n"[cleaned]"}`],
    ['an AWS key', 'key AKIAABCDEFGHIJKLMNOP.', 'key [cleaned].'],
    ['a bearer token', 'Authorization: Bearer abcdef.123456', 'Authorization: Bearer [cleaned]'],
    ['a JWT', '["eyJhbGciOiJI.eyJzdWIi.c2ln"]', '["[cleaned]"]'],
    ['a PEM key', 'x\n-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\ny', 'x\n[cleaned]\ny'],
  ]
  for (const [name, before, after] of cases) it(`takes out ${name}`, () => expect(cleaned({ body: before })).to.deep.equal({ body: after, changes: name.includes(' and ') ? 2 : 1 }))

  it('leaves everything else as it was, to the byte', () => {
    const body = '{"n":12345678901234567890, "progressToken":"p", "maxTokens":5,"password":null,"x":"{not json: \\u00e9"}'
    expect(cleaned({ body })).to.deep.equal({ body, changes: 0 })
  })

  it('leaves out bodies in several parts: a secret may stand across their border', () => {
    expect(cleaned({ body: '{"password":"hun', more: true })).to.deep.equal({ body: '[cleaned: a body in several parts]', changes: 1 })
  })

  it('knows names of secrets in any spelling', () => {
    for (const name of ['password', 'DB_PASSWORD', 'X-Api-Key', 'accessToken', 'Authorization', 'privateKey', 'aws_secret_access_key']) expect(isSecretName(name), name).to.equal(true)
    for (const name of ['progressToken', 'max_tokens', 'author', 'key', 'name']) expect(isSecretName(name), name).to.equal(false)
  })
})
