/** What the AWS SDK finds in the environment, for the time of a test. */

const NAMES = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_REGION', 'AWS_PROFILE', 'AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_STS', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_ARN', 'AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_EC2_METADATA_DISABLED'] as const

export type AwsEnvironment = Partial<Record<(typeof NAMES)[number], string>>

/** Nothing of the machine's own. */
export function awsEnvironment(env: AwsEnvironment): AwsEnvironment {
  return { AWS_REGION: 'us-east-1', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_EC2_METADATA_DISABLED: 'true', ...env }
}

/** Sets this process's own. @returns puts back what was there */
export function setAwsEnvironment(env: AwsEnvironment): () => void {
  const before = NAMES.map(name => [name, process.env[name]] as const)
  const set = (entries: readonly (readonly [string, string | undefined])[]): void => {
    for (const [name, value] of entries) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  const wanted = awsEnvironment(env)
  set(NAMES.map(name => [name, wanted[name]]))
  return () => set(before)
}
