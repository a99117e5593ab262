package pages

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgtx"
)

// ListArgs chooses pages of a site. A filter that is nil is off.
type ListArgs struct {
	Site   uuid.UUID
	State  *string
	Author *string
	Text   *string // a pattern for ILIKE: see pgquery.EscapeLike
	Since  *time.Time
}

// ListRow is a page in a list.
type ListRow struct {
	ID          uuid.UUID  `json:"id"`
	SiteID      uuid.UUID  `json:"-"`
	Path        string     `json:"path"`
	Title       string     `json:"title"`
	Status      string     `json:"status"`
	Position    int32      `json:"position"`
	Revision    int32      `json:"revision"`
	CreatedBy   string     `json:"created_by"`
	UpdatedAt   time.Time  `json:"updated_at"`
	PublishedAt *time.Time `json:"published_at"` // nil for a page that is not online

	Revisions    []RevisionRow    `db:"-" json:"revisions,omitempty"`
	Publications []PublicationRow `db:"-" json:"publications,omitempty"`
	Assets       []AssetRow       `db:"-" json:"assets,omitempty"`
}

// List is the list of the live pages of a site.
var List = pgquery.List[ListArgs, ListRow]{
	Name: "list_pages",
	Select: `select p.id, p.site_id, p.path, p.title, p.status, p.position, p.revision, p.created_by, p.updated_at,
		o.published_at
		from pages p left join publications o on o.page_id = p.id and o.ended_at is null`,
	Where: `p.site_id = @site and p.deleted_at is null`,
	Filters: pgquery.Filters{
		"state":  `p.status = @state`,
		"author": `p.created_by = @author`,
		"text":   `p.title ilike @text or p.path ilike @text`,
		"since":  `p.updated_at >= @since`,
	},
	Sorts: pgquery.Sorts{
		"path":      `path`,
		"newest":    `updated_at desc, id desc`,
		"published": `published_at desc nulls last, id`,
		"state":     `status, updated_at desc, id desc`,
	},
	Sizes: []int{20, 100},
}

// Changes are the fields of a page that a client may change without a new revision. Absent fields
// stay as they are.
type Changes struct {
	ID       uuid.UUID                   `json:"-"`
	ParentID pgquery.Optional[uuid.UUID] `db:"parent_id" json:"parent_id"`
	Slug     pgquery.Optional[string]    `db:"slug,notnull" json:"slug"`
	Status   pgquery.Optional[string]    `db:"status,notnull" json:"status"`
	Position pgquery.Optional[int32]     `db:"position,notnull" json:"position"`
}

// changePage declares the update that Change sends.
var changePage = pgquery.Patch[Changes, db.Page]{
	Name:    "change_page",
	Table:   "pages",
	Where:   `id = @id and deleted_at is null`,
	Columns: []string{"parent_id", "slug", "status", "position"},
	Returning: `id, site_id, parent_id, parent_path, slug, path, title, status, position, revision,
		created_at, created_by, updated_at, deleted_at`,
}

// Change moves, renames or marks a page. The error is [ErrNotFound] for a page that is not live.
func Change(ctx context.Context, conn pgtx.DB, c Changes, actor string) (db.Page, error) {
	return runAsActor(ctx, conn, actor, func(ctx context.Context, tx pgx.Tx) (db.Page, error) {
		page, err := changePage.Apply(ctx, tx, c)
		if pgerr.Of(err) == pgerr.NotFound {
			return page, fmt.Errorf("change page %s: %w", c.ID, ErrNotFound)
		}
		return page, err
	})
}

// RevisionRow is a saved state of a page, without its content.
type RevisionRow struct {
	PageID    uuid.UUID `json:"-"`
	Revision  int32     `json:"revision"`
	Title     string    `json:"title"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// PublicationRow says when a revision of a page was online.
type PublicationRow struct {
	PageID      uuid.UUID  `json:"-"`
	Revision    int32      `json:"revision"`
	PublishedAt time.Time  `json:"published_at"`
	EndedAt     *time.Time `json:"ended_at"`
}

// AssetRow is a file of a site.
type AssetRow struct {
	SiteID    uuid.UUID `json:"-"`
	Name      string    `json:"name"`
	MediaType string    `json:"media_type"`
	ByteSize  int64     `json:"byte_size"`
}

var newestRevisions = pgquery.Relation[ListRow, RevisionRow, uuid.UUID]{
	Name:   "revisions_of_pages",
	Select: `select r.page_id, r.revision, r.title, r.created_by, r.created_at from page_revisions r`,
	Key:    `r.page_id`,
	Order:  `revision desc`,
	Limit:  3,
	Parent: func(p *ListRow) (uuid.UUID, bool) { return p.ID, true },
	Child:  func(r *RevisionRow) uuid.UUID { return r.PageID },
	Assign: func(p *ListRow, all []RevisionRow) { p.Revisions = all },
}

var publications = pgquery.Relation[ListRow, PublicationRow, uuid.UUID]{
	Name:   "publications_of_pages",
	Select: `select o.page_id, o.revision, o.published_at, o.ended_at from publications o`,
	Key:    `o.page_id`,
	Order:  `published_at desc`,
	Parent: func(p *ListRow) (uuid.UUID, bool) { return p.ID, true },
	Child:  func(o *PublicationRow) uuid.UUID { return o.PageID },
	Assign: func(p *ListRow, all []PublicationRow) { p.Publications = all },
}

var assets = pgquery.Relation[ListRow, AssetRow, uuid.UUID]{
	Name:   "assets_of_sites",
	Select: `select a.site_id, a.name, a.media_type, a.byte_size from assets a`,
	Key:    `a.site_id`,
	Where:  `a.deleted_at is null`,
	Order:  `name`,
	Parent: func(p *ListRow) (uuid.UUID, bool) { return p.SiteID, true },
	Child:  func(a *AssetRow) uuid.UUID { return a.SiteID },
	Assign: func(p *ListRow, all []AssetRow) { p.Assets = all },
}

// LoadDetails gives each page its newest revisions, its publications and the files of its site, in
// one round trip for all of them.
func LoadDetails(ctx context.Context, conn pgquery.Batcher, rows []ListRow) error {
	return pgquery.Load(ctx, conn, rows, &newestRevisions, &publications, &assets)
}

// Constraints are the rules of the schema that a client may break, by names for clients.
var Constraints = pgerr.Constraints{
	"pages.pages_path_live":                  {Name: "path_taken", Columns: []string{"site_id", "path"}},
	"pages.pages_slug_format":                {Name: "slug_format"},
	"pages.pages_parent_fkey":                {Name: "no_such_parent"},
	"pages.pages_status_known":               {Name: "status_unknown", Columns: []string{"status"}},
	"pages.pages_title_not_blank":            {Name: "title_blank", Columns: []string{"title"}},
	"publications.publications_path_current": {Name: "path_taken", Columns: []string{"site_id", "path"}},
}
