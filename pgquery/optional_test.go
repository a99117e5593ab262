package pgquery_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgquery"
)

type form struct {
	Title pgquery.Optional[string]    `json:"title,omitzero"`
	Due   pgquery.Optional[time.Time] `json:"due,omitzero"`
	Prio  pgquery.Optional[int32]     `json:"prio"`
}

func TestOptionalJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		form form
		back string
	}{
		`{}`:              {form{}, `{"prio":null}`},
		`{"title": null}`: {form{Title: pgquery.Null[string]()}, `{"title":null,"prio":null}`},
		`{"title": "", "prio": 0}`: {
			form{Title: pgquery.Value(""), Prio: pgquery.Value[int32](0)},
			`{"title":"","prio":0}`,
		},
		`{"prio": null, "title":"a"}`: {
			form{Title: pgquery.Value("a"), Prio: pgquery.Null[int32]()},
			`{"title":"a","prio":null}`,
		},
	} {
		var got form
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want.form {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if back, err := json.Marshal(got); err != nil || string(back) != want.back {
			t.Errorf("%s: %s, %v", text, back, err)
		}
	}
	var wrong form
	if err := json.Unmarshal([]byte(`{"prio": "a"}`), &wrong); err == nil || !wrong.Prio.IsZero() {
		t.Errorf("%+v, %v", wrong, err)
	}
}

func TestOptionalStates(t *testing.T) {
	t.Parallel()
	var absent pgquery.Optional[int32]
	for name, o := range map[string]struct {
		pgquery.Optional[int32]
		zero, null, present bool
	}{
		"absent": {absent, true, false, false},
		"null":   {pgquery.Null[int32](), false, true, false},
		"value":  {pgquery.Value[int32](0), false, false, true},
	} {
		if _, present := o.Get(); o.IsZero() != o.zero || o.IsNull() != o.null || present != o.present {
			t.Errorf("%s: zero %v, null %v, present %v", name, o.IsZero(), o.IsNull(), present)
		}
	}
}

// An Optional is scanned and sent like the value, by pgx and by database/sql.
func TestOptionalInSQL(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	var title pgquery.Optional[string]
	var due pgquery.Optional[time.Time]
	var prio pgquery.Optional[int32]
	err := pool.QueryRow(t.Context(), "select title, due, prio from pages where id = 1").Scan(&title, &due, &prio)
	if v, ok := title.Get(); err != nil || !ok || v != "page 0" || !due.IsNull() {
		t.Errorf("%v, %v, %v", title, due, err)
	}
	if v, ok := prio.Get(); !ok || v != 0 {
		t.Errorf("%v", prio)
	}
	var n int
	err = pool.QueryRow(t.Context(), "select count(*) from pages where title = $1 or due = $2", title, due).Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	var absent pgquery.Optional[string]
	if err := pool.QueryRow(t.Context(), "select count(*) from pages where title = $1", absent).Scan(&n); err == nil {
		t.Error("an absent value was sent")
	}
	// A value with its own conversion uses it.
	if v, err := pgquery.Value(prio).Value(); err != nil || v != int32(0) {
		t.Errorf("%v, %v", v, err)
	}
	var wrong pgquery.Optional[time.Time]
	if err := wrong.Scan("no time"); err == nil || !wrong.IsZero() {
		t.Errorf("%v, %v", wrong, err)
	}
}
