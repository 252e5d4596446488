"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "admins",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("is_api_user", sa.Boolean(), nullable=False),
        sa.Column("allowed_calls", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("allowed_networks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("signed_in_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["admins.id"], name=op.f("fk_admins_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admins")),
        sa.UniqueConstraint("name", name=op.f("uq_admins_name")),
    )
    with op.batch_alter_table("admins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_admins_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("source_address", sa.String(length=45), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("result", sa.String(length=1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_action"), ["action"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)

    op.create_table(
        "dnsbls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=253), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("families", sa.JSON(), nullable=False),
        sa.Column("tried_families", sa.JSON(), nullable=False),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("loopback_is_listed", sa.Boolean(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("removal_url", sa.String(length=255), nullable=False),
        sa.Column("is_builtin", sa.Boolean(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.Column("note", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("status_detail", sa.String(length=255), nullable=False),
        sa.Column("tests", sa.JSON(), nullable=False),
        sa.Column("tested_at", sa.Double(), nullable=True),
        sa.Column("tested_through", sa.String(length=255), nullable=False),
        sa.Column("refused_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dnsbls")),
        sa.UniqueConstraint("zone", name=op.f("uq_dnsbls_zone")),
    )
    op.create_table(
        "helos",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("helo", sa.String(length=253), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("address", "direction", name=op.f("pk_helos")),
    )
    op.create_table(
        "identities",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("identity", sa.String(length=998), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("domain", "username", "identity", name=op.f("uq_identities_domain")),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("primary_ipv4", sa.String(length=15), nullable=False),
        sa.Column("primary_ipv6", sa.String(length=45), nullable=False),
        sa.Column("ipv6_enabled", sa.Boolean(), nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("rescan_asked_at", sa.Double(), nullable=True),
        sa.Column("nonlocal_bind", sa.JSON(), nullable=False),
        sa.Column("former", sa.JSON(), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("locked_reason", sa.String(length=255), nullable=False),
        sa.Column("locked_at", sa.Double(), nullable=True),
        sa.Column("locked_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    op.create_table(
        "past_listings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("list_name", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=253), nullable=False),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("from_at", sa.Double(), nullable=False),
        sa.Column("to_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_past_listings")),
    )
    with op.batch_alter_table("past_listings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_past_listings_address"), ["address"], unique=False)

    op.create_table(
        "reputation_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reputation_runs")),
    )
    with op.batch_alter_table("reputation_runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reputation_runs_started_at"), ["started_at"], unique=False)

    op.create_table(
        "reverses",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("confirmed", sa.String(length=253), nullable=False),
        sa.Column("confirmed_at", sa.Double(), nullable=True),
        sa.Column("checked_at", sa.Double(), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=False),
        sa.Column("ttl_s", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_reverses")),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
    )
    op.create_table(
        "site_settings",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_site_settings")),
    )
    op.create_table(
        "suspensions",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("node", sa.String(length=253), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("address", "node", name=op.f("pk_suspensions")),
    )
    op.create_table(
        "activity",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=253), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("about", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "node", "address", "about", "kind", name=op.f("pk_activity")),
    )
    op.create_table(
        "address_uses",
        sa.Column("node", sa.String(length=253), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("node", "address", name=op.f("pk_address_uses")),
    )
    op.create_table(
        "warmups",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("on_date", sa.String(length=10), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("paused", sa.String(length=12), nullable=False),
        sa.Column("paused_reason", sa.String(length=255), nullable=False),
        sa.Column("paused_at", sa.Double(), nullable=True),
        sa.Column("pause_told", sa.Boolean(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=True),
        sa.Column("begun_with", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_warmups")),
    )
    op.create_table(
        "addresses",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("node_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("interface", sa.String(length=64), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("public_address", sa.String(length=45), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_addresses_node_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addresses")),
        sa.UniqueConstraint("node_id", "address", name=op.f("uq_addresses_node_id")),
    )
    with op.batch_alter_table("addresses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_addresses_address"), ["address"], unique=False)
        batch_op.create_index(batch_op.f("ix_addresses_node_id"), ["node_id"], unique=False)

    op.create_table(
        "checkups",
        sa.Column("node_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("checked_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_checkups_node_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node_id", "address", name=op.f("pk_checkups")),
    )
    op.create_table(
        "domains",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("admin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("main_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("locked_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["admin_id"], ["admins.id"], name=op.f("fk_domains_admin_id")),
        sa.ForeignKeyConstraint(["main_id"], ["domains.id"], name=op.f("fk_domains_main_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint("name", name=op.f("uq_domains_name")),
    )
    with op.batch_alter_table("domains", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_domains_admin_id"), ["admin_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_domains_main_id"), ["main_id"], unique=False)

    op.create_table(
        "listings",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("dnsbl_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("severity", sa.String(length=12), nullable=False),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("meanings", sa.JSON(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("detail", sa.String(length=255), nullable=False),
        sa.Column("resolver", sa.String(length=64), nullable=False),
        sa.Column("ttl_s", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("listed_since", sa.Double(), nullable=True),
        sa.Column("listed_at", sa.Double(), nullable=True),
        sa.Column("listed_codes", sa.JSON(), nullable=False),
        sa.Column("listed_severity", sa.String(length=12), nullable=False),
        sa.ForeignKeyConstraint(["dnsbl_id"], ["dnsbls.id"], name=op.f("fk_listings_dnsbl_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("address", "dnsbl_id", name=op.f("pk_listings")),
    )
    op.create_table(
        "saved_filters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("admin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("page", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["admin_id"], ["admins.id"], name=op.f("fk_saved_filters_admin_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_filters")),
        sa.UniqueConstraint("admin_id", "page", "name", name=op.f("uq_saved_filters_admin_id")),
    )
    with op.batch_alter_table("saved_filters", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_saved_filters_admin_id"), ["admin_id"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("admin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["admin_id"], ["admins.id"], name=op.f("fk_sessions_admin_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_admin_id"), ["admin_id"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("admin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["admin_id"], ["admins.id"], name=op.f("fk_tokens_admin_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tokens_admin_id"), ["admin_id"], unique=False)

    op.create_table(
        "warmup_days",
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("date", sa.String(length=10), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("hours_used", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deferred", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("spoiled", sa.Boolean(), nullable=False),
        sa.Column("listings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["address"], ["warmups.address"], name=op.f("fk_warmup_days_address"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("address", "date", name=op.f("pk_warmup_days")),
    )
    op.create_table(
        "delivery_settings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=1600), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("admin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("identity", sa.String(length=998), nullable=False),
        sa.Column("node_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ipv4", sa.JSON(), nullable=False),
        sa.Column("ipv6", sa.JSON(), nullable=False),
        sa.Column("ipv4_disabled", sa.Boolean(), nullable=False),
        sa.Column("strict", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["admin_id"], ["admins.id"], name=op.f("fk_delivery_settings_admin_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_delivery_settings_domain_id")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_delivery_settings_node_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_settings")),
        sa.UniqueConstraint("scope", "node_id", name=op.f("uq_delivery_settings_scope")),
    )
    with op.batch_alter_table("delivery_settings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_settings_admin_id"), ["admin_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_settings_domain_id"), ["domain_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_settings_level"), ["level"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_settings_node_id"), ["node_id"], unique=False)

    op.create_table(
        "setting_addresses",
        sa.Column("setting_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.ForeignKeyConstraint(
            ["setting_id"], ["delivery_settings.id"], name=op.f("fk_setting_addresses_setting_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("setting_id", "address", name=op.f("pk_setting_addresses")),
    )
    with op.batch_alter_table("setting_addresses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_setting_addresses_address"), ["address"], unique=False)

    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.Column("locked_reason", sa.String(length=255), nullable=False),
        sa.Column("locked_at", sa.Double(), nullable=True),
        sa.Column("locked_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_users_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("domain_id", "name", name=op.f("uq_users_domain_id")),
    )
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_users_domain_id"), ["domain_id"], unique=False)

    op.execute("INSERT INTO revision (id, number) VALUES (1, 0)")
