/** Whether a bucket policy keeps everybody from an action (IAM User Guide, "Policy evaluation logic"). Pure. What it cannot read it does not count. */

/** @param json a bucket policy */
export function readPolicy(json: string): readonly unknown[] {
  try {
    const policy: unknown = JSON.parse(json)
    const statements = field(policy, 'Statement')
    return Array.isArray(statements) ? statements : statements === undefined ? [] : [statements]
  } catch {
    return []
  }
}

/**
 * @param resource ARN
 * @returns how a Deny for everybody is limited: `all` when it is not, `except` when certain principals are left out, undefined when there is none
 */
export function deniedTo(statements: readonly unknown[], action: string, resource: string): 'all' | 'except' | undefined {
  const denials = statements.filter(each => field(each, 'Effect') === 'Deny' && anybody(each) && covers(field(each, 'Action'), action, true) && covers(field(each, 'Resource'), resource, false))
  if (denials.some(each => Object.keys(asObject(field(each, 'Condition'))).length === 0)) return 'all'
  return denials.some(each => sparesPrincipals(field(each, 'Condition'))) ? 'except' : undefined
}

/** `Principal: *` in its forms. */
function anybody(statement: unknown): boolean {
  const principal = field(statement, 'Principal')
  return principal === '*' || texts(field(principal, 'AWS')).includes('*')
}

/** A condition such as `aws:SecureTransport` denies some requests of everybody; only one that names principals and leaves them out denies all others. */
function sparesPrincipals(condition: unknown): boolean {
  return Object.entries(asObject(condition)).every(([operator, keys]) => /^(?:Arn|String)Not(?:Equals|Like)(?:IfExists|IgnoreCase)*$/.test(operator) && Object.keys(asObject(keys)).every(key => /^aws:(?:Principal\w+|userid|username)/i.test(key)))
}

function covers(patterns: unknown, value: string, anyCase: boolean): boolean {
  return texts(patterns).some(pattern => {
    const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')
    return new RegExp(`^${escaped}$`, anyCase ? 'i' : '').test(value)
  })
}

function texts(value: unknown): readonly string[] {
  return (Array.isArray(value) ? value : [value]).filter(each => typeof each === 'string')
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}

function field(value: unknown, name: string): unknown {
  return new Map<string, unknown>(Object.entries(asObject(value))).get(name)
}
