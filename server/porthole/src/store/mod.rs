//! What outlives the process: accounts, logins, tokens, the audit trail.
