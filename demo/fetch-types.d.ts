/** The official SDK's declarations name a DOM type that Node's do not have under that name. */
type HeadersInit = NonNullable<RequestInit['headers']>
