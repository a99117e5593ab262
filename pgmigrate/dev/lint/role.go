package lint

import (
	"context"
	"fmt"
)

// roles creates the missing roles that the section names. Roles belong to a server, and in
// production an administrator creates them. On a server that the user named, roles creates nothing,
// and the migration fails.
func (s *session) roles(ctx context.Context, statements []parsed) error {
	made := map[string]bool{}
	for _, p := range statements {
		p.each("CreateRoleStmt", func(n node) { made[n.text("role")] = true })
		for _, name := range namedRoles(map[string]any(p.node), nil) {
			if made[name] {
				continue
			}
			made[name] = true
			// Naming the role is enough: Exec creates missing roles.
			if err := s.db.Exec(ctx, "comment on role "+quote(name)+" is null"); err != nil && !isServerError(err) {
				return fmt.Errorf("role %s: %w", name, err)
			}
		}
	}
	return nil
}

// namedRoles collects what RoleSpec nodes name, wherever they are in the tree.
func namedRoles(tree any, names []string) []string {
	switch t := tree.(type) {
	case map[string]any:
		if n := node(t); n.text("roletype") == "ROLESPEC_CSTRING" {
			names = append(names, n.text("rolename"))
		}
		for _, v := range t {
			names = namedRoles(v, names)
		}
	case []any:
		for _, v := range t {
			names = namedRoles(v, names)
		}
	}
	return names
}
