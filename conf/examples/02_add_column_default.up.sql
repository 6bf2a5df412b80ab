-- A constant default is kept in the catalog and given to the old rows when
-- they are read: NOT NULL and default come with the column, in one step, and
-- no row is written. An application that does not know the column goes on.

SELECT backfill.plan_add_column('shop.customers', 'newsletter', 'boolean',
	"default" => 'false', not_null => true,
	prefix => '02_add_column_default');
