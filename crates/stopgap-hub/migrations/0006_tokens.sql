-- Whose a token is, as approvals compare people: `user NAME` in lower case, or `token ID` of one that is nobody's;
-- empty: it stands for itself. And what of the API it reaches; no scopes: all that its role may.
ALTER TABLE api_tokens ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
UPDATE api_tokens SET owner = COALESCE(
    (SELECT 'user ' || u.name_key FROM users u WHERE u.name = api_tokens.user_name), '');
