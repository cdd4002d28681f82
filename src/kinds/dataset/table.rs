//! The fields of a dataset: what a spec may say of its sources, its transforms and its load.
//!
//! What stands inside `transform` and `limits` is named as [`crate::dataset::Job`] has it, so that a decoded value is its
//! JSON. Where the dataset is made here, a path is one of this machine; on a server it is one of the server.

use crate::kinds::schema::{Attribute, Field, Literal, NameRule, RefChange, RefType, Schema, Type, attribute, field};
use crate::kinds::store_keys::{BUCKET, CREDENTIAL};

/// How many requests that carry data are under way at a time, if the spec says nothing. A Ceph gateway takes small objects a
/// fifth faster from 64 than from 32, and no faster from more; what is in memory is bounded by itself.
const TRANSFERS: i64 = 64;

/// The fields of a source; `path` is a path of the machine on which it is read.
const fn source(path: Type) -> [Field; 11] {
    [
        field("url", Type::Text, "A file to download: `https:`, or `file:` on the machine where the job runs."),
        field("mirrors", Type::List(&Type::Text), "Where the same file is as well."),
        field(
            "sha256",
            Type::Text,
            "The file's SHA-256. Without it the first download's is recorded and holds from then on.",
        ),
        field("size", Type::Bytes, "The file's length."),
        field("path", path, "A file, or a folder with all that is in it."),
        field("bucket", Type::Short("name", BUCKET), "A bucket: one of this spec, or another."),
        field("prefix", Type::Text, "Which of the bucket's objects: those below this prefix."),
        field(
            "credential",
            Type::Short("name", CREDENTIAL),
            "The keys that open the bucket; without, the site's sign-in.",
        ),
        field(
            "dataset",
            Type::Ref(RefType::new("dataset", RefChange::Order)),
            "Another dataset of this spec, as it is after its transforms: one download for both.",
        ),
        field("into", Type::Text, "A folder that its files are put into."),
        field("strip", Type::Int(0, 64), "How many folders are taken off the front of its files' paths."),
    ]
}

static SOURCE_HERE: [Field; 11] = source(Type::LocalPath);
static SOURCE_THERE: [Field; 11] = source(Type::Text);

static LIMITS: &[Field] = &[
    field("bytes", Type::Bytes, "Bytes in all, 4TiB if not said."),
    field("files", Type::Int(1, i64::MAX), "Files in all, 20 million if not said."),
    field("ratio", Type::Int(1, 1_000_000), "How many times its own size an archive may unpack to, 200 if not said."),
];

static OTHERS: Type = Type::Enum(&["keep", "drop", "refuse"]);

static CLASS_FOLDERS: &[Field] = &[
    field("pattern", Type::Verbatim, "A regular expression that is looked for in a file's name: `^(\\d+)_`.")
        .required(),
    field("name", Type::Text, "The folder, with what the pattern captured: `class_{1:02}`.").required(),
    field("others", OTHERS, "What becomes of files whose name does not match.").default(Literal::Str("keep")),
];

static PART: &[Field] = &[
    field("key", Type::Text, "The file that is written: `training.tsv`.").required(),
    field("share", Type::Int(1, 1_000_000_000), "Its share of the rows, beside the others': 70, 15, 15.").required(),
];

static SPLIT: &[Field] = &[
    field("file", Type::Text, "The table: its path among the files, in which `*` stands for any characters.")
        .required(),
    field("parts", Type::List(&Type::Struct(PART)), "The files that the rows are dealt out to.").required(),
    field("seed", Type::Int(0, i64::MAX), "Another seed deals otherwise.").default(Literal::Int(0)),
    field("columns", Type::List(&Type::Text), "The columns that are written, in this order; all if not said."),
    field("dense_ids", Type::List(&Type::Text), "The columns whose values become numbers from 0 on."),
    field("write_ids", Type::Bool, "Whether the values of those columns are written too, by their numbers."),
    field("delimiter", Type::Text, "What separates the columns of the table; a comma if not said."),
    field("separator", Type::Text, "What separates the columns that are written; a tab if not said."),
    field("header", Type::Bool, "Whether the columns' names are written first."),
    field("others", OTHERS, "What becomes of the other files.").default(Literal::Str("keep")),
];

static PATTERN: &[Field] = &[field(
    "pattern",
    Type::Verbatim,
    "A regular expression whose first group is the label's number: `class_(\\d+)/`.",
)
.required()];

static WEBDATASET: &[Field] = &[
    field("samples", Type::Int(1, i64::MAX), "The most samples of a shard."),
    field("bytes", Type::Bytes, "The most bytes of a shard, `100MiB`."),
    field(
        "label",
        Type::WordOr("folder", &Type::Struct(PATTERN)),
        "What the `.cls` of a sample says: the number of its folder, or a number in its path.",
    ),
    field("key", Type::Enum(&["name", "path"]), "What a sample is called: after its file's name, or its path."),
    field(
        "series",
        Type::Int(0, 64),
        "How many folders from the top have shards of their own: 1 for `training/shard-000000.tar`.",
    ),
    field("shuffle", Type::Int(0, i64::MAX), "A seed: the samples are shuffled by it, always alike."),
    field("prefix", Type::Text, "What a shard's name begins with; `shard-` if not said."),
];

static COMMAND: &[Field] = &[
    field(
        "run",
        Type::Verbatim,
        "A program, as text for the shell: it reads the folder $SRC and writes to the folder $OUT.",
    )
    .required(),
    field("needs", Type::List(&Type::Text), "The programs that it needs, looked for before anything is downloaded."),
    field("check", Type::Verbatim, "Text for the shell that succeeds where the rest of what it needs is there."),
    field("env", Type::Map(&Type::Text), "More of its environment."),
    field(
        "secrets",
        Type::Map(&Type::Text),
        "Secrets of its environment; another value does not make the result another one.",
    )
    .write_only(),
    field("timeout", Type::Duration, "After what time it is ended; `1d` if not said."),
];

static TRANSFORMS: Type = Type::Struct(TRANSFORM);

static TRANSFORM: &[Field] = &[
    field("class_folders", Type::Struct(CLASS_FOLDERS), "Files are moved into folders by their names."),
    field("split", Type::Struct(SPLIT), "The rows of a table are dealt out to several files."),
    field("webdataset", Type::Struct(WEBDATASET), "Files are packed into shards, for the WebDataset library."),
    field("command", Type::Struct(COMMAND), "A program makes other files of them."),
];

static LOAD: &[Field] = &[
    field("bucket", Type::Short("name", BUCKET), "The bucket: one of this spec, or another.").required(),
    field("prefix", Type::Text, "What the objects' keys begin with; the whole bucket if not said."),
    field("credential", Type::Short("name", CREDENTIAL), "The keys that open the bucket; without, the site's sign-in."),
    field("transfers", Type::Int(1, 256), "How many requests that carry data are under way at a time.")
        .default(Literal::Int(TRANSFERS)),
    field(
        "extra_objects",
        Type::Enum(&["keep", "delete"]),
        "What becomes of objects below the prefix that are not the dataset's.",
    )
    .default(Literal::Str("keep")),
    field("verify", Type::Bool, "Whether every object that was loaded is read back.").default(Literal::Bool(false)),
    field("force_destroy", Type::Bool, "Whether its objects are deleted with it; if not, they stay in the bucket.")
        .default(Literal::Bool(false)),
];

/// The fields of a dataset; `sources` is the table of one source.
const fn fields(source: &'static Type, sources: &'static Type, staging: Type, server: Field) -> [Field; 24] {
    [
        field("source", *source, "Where the data comes from; in short, its URL.").ignore(),
        field("sources", Type::List(sources), "Several of them, whose files lie together."),
        field("extract", Type::Enum(&["auto", "none"]), "Whether what is an archive by its content is unpacked.")
            .default(Literal::Str("auto")),
        field("limits", Type::Struct(LIMITS), "What its archives may unpack to.").default(Literal::EmptyMap).record(),
        field("transform", Type::List(&TRANSFORMS), "What becomes of the files, one after the other.")
            .default(Literal::EmptyList),
        field(
            "staging",
            staging,
            "The folder for what is downloaded and made; it is kept, for datasets that read this one.",
        )
        .ignore(),
        field("load", Type::Struct(LOAD), "Where the objects go.").required().ignore(),
        server,
        field("bucket", Type::Text, "The bucket's name in its store.").derived().replace(),
        field("prefix", Type::Text, "What the objects' keys begin with.").derived().replace(),
        field("endpoint", Type::Text, "Where the store is.").derived().replace(),
        field("region", Type::Text, "The region that requests are signed for.").internal().record(),
        field("access_key", Type::Text, "The key's id.").internal().record().sensitive(),
        field("secret_key", Type::Text, "The key.").internal().record().sensitive(),
        field("session_token", Type::Text, "The token of keys that are lent for a time.")
            .internal()
            .record()
            .sensitive(),
        field("trusted", Type::Text, "Certificates to trust besides those of the system.").internal().record(),
        field("transfers", Type::Int(1, 256), "How many requests that carry data are under way at a time.")
            .derived()
            .record(),
        field("extra_objects", Type::Text, "What becomes of other objects below the prefix.").derived(),
        field("verify", Type::Bool, "Whether every object is read back.").derived().record(),
        field("force_destroy", Type::Bool, "Whether its objects are deleted with it.").derived().record(),
        field("content", Type::Text, "What is to be in the bucket.").derived().differs("source and bucket differ"),
        field("source_keys", Type::List(&Type::Map(&Type::Text)), "The keys of each source's store.")
            .internal()
            .record()
            .write_only(),
        field("read_from", Type::List(&Type::Map(&Type::Text)), "What each source that is a dataset is made of.")
            .internal()
            .write_only(),
        field("staging_at", Type::Text, "The staging folder, or nothing.").internal().ignore(),
    ]
}

static ONE_HERE: Type = Type::Short("url", &SOURCE_HERE);
static ONE_THERE: Type = Type::Short("url", &SOURCE_THERE);

const SERVER: Field = field(
    "server",
    Type::Ref(RefType::new("server", RefChange::Order)),
    "The server on which it is made, beside the data; here if not said.",
);

static HERE: [Field; 24] = fields(&ONE_HERE, &ONE_HERE, Type::LocalPath, SERVER);
static THERE: [Field; 24] = fields(&ONE_THERE, &ONE_THERE, Type::Text, SERVER);

static ATTRIBUTES: &[Attribute] = &[
    attribute("id", "Its id in the state."),
    attribute("objects", "How many objects it has."),
    attribute("bytes", "How many bytes they have."),
    attribute("location", "Where it is: `s3://food11/Food-11`.").stable(),
];

/// A dataset that is made on this machine.
pub(super) static LOCAL: Schema = Schema {
    kind: "dataset",
    section: "datasets",
    doc: "A dataset: fetched, transformed, and loaded into a bucket, with a manifest that is written last.",
    fields: &HERE,
    attributes: ATTRIBUTES,
    protect: false,
    lookup: false,
    name: NameRule::None,
};

/// One that is made on a server.
pub(super) static ON_SERVER: Schema = Schema {
    kind: "dataset_on_server",
    section: "datasets",
    doc: "A dataset that is made on a server, beside the data.",
    fields: &THERE,
    attributes: ATTRIBUTES,
    protect: false,
    lookup: false,
    name: NameRule::None,
};
