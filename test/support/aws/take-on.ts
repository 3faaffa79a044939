/** Anybody with a token, at the token service. */

import { xmlElement } from '../../../src/platform/aws/xml-element.ts'

export interface TakenOn {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
}

/** @returns credentials of the role, or the code with which they are refused */
export async function takeOn(endpoint: string, role: string, token: string): Promise<TakenOn | string> {
  const body = new URLSearchParams({ Action: 'AssumeRoleWithWebIdentity', Version: '2011-06-15', RoleArn: role, RoleSessionName: 'test', WebIdentityToken: token })
  const answer = await fetch(endpoint, { method: 'POST', body })
  const text = await answer.text()
  const given = (name: string): string => xmlElement(text, name) ?? `no ${name} in an answer ${answer.status}`
  return answer.ok ? { accessKeyId: given('AccessKeyId'), secretAccessKey: given('SecretAccessKey'), sessionToken: given('SessionToken') } : given('Code')
}

/** The token with another content under the signature that it has. */
export function altered(token: string, changes: Readonly<Record<string, unknown>>): string {
  const [head = '', payload = '', mark = ''] = token.split('.')
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
  if (typeof claims !== 'object' || claims === null) throw new Error('a token without claims')
  return [head, Buffer.from(JSON.stringify({ ...claims, ...changes })).toString('base64url'), mark].join('.')
}
