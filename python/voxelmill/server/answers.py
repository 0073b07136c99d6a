"""What the queries answer, for the description of the API: clients can be made of it. Answers themselves are not checked
against it on their way out, which would cost as much as the query; tests do that.

    def partners(...) -> Annotated[Json, As(Partners)]
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Json = dict[str, Any]
Id = str  # of 64 bits, beyond what JSON's numbers hold


class As:
    """Annotates an answer with the model that describes it."""

    def __init__(self, model: type[BaseModel]):
        self.model = model

    def __get_pydantic_json_schema__(self, _: Any, handler: Any) -> Any:
        return handler(TypeAdapter(self.model).core_schema)


class Page(BaseModel):
    """A part of a list; `next` is the cursor of the part after it."""

    release: str
    total: int
    truncated: bool
    next: str | None


class Row(BaseModel):
    """With further measures, by name."""

    model_config = ConfigDict(extra="allow")


class Release(BaseModel):
    tag: str
    id: str = Field(description="sha256 of its manifest")
    seq: int
    status: str = Field(description="good or withdrawn")
    current: bool
    workflow: str
    created: str
    by: str
    files: int
    parent: str | None = Field(None, description="of an edited release")


class Releases(BaseModel):
    releases: list[Release]
    current: str | None


class Published(Row):
    path: str
    kind: str
    digest: str
    stage: str


class ReleaseFacts(Release):
    run_id: str
    bytes: int
    figures: dict[str, float]
    gates: list[Row]
    edits: Row | None = None
    published: list[Published]
    history: list[Row]


class Segment(BaseModel):
    root_id: Id | None
    supervoxel_id: Id | None
    inside: bool = Field(description="whether the point lies in the volume")


class SegmentAt(Segment):
    release: str


class Segments(BaseModel):
    release: str
    segments: list[Segment]


class Neurite(Row):
    root_id: Id
    synapses_out: int
    synapses_in: int
    partners_out: int
    partners_in: int


class Neurites(Page):
    neurites: list[Neurite]


class NeuriteFacts(Neurite):
    release: str
    supervoxels: int
    files: list[str]


class Partner(BaseModel):
    root_id: Id
    weight: int = Field(description="synapses")


class Partners(Page):
    root_id: Id
    direction: str
    partners: list[Partner]


class Synapse(BaseModel):
    id: Id
    pre_root_id: Id
    post_root_id: Id
    position_nm: list[float] | None = Field(description="z, y, x")
    score: float | None


class Synapses(Page):
    root_id: Id
    synapses: list[Synapse]


class Neighbour(BaseModel):
    root_id: Id
    steps: int
    weight: float


class Neighbourhood(BaseModel):
    release: str
    root_id: Id
    neighbours: list[Neighbour]
    truncated: bool


class TwoHops(BaseModel):
    release: str
    root_id: Id
    neighbours: list[Partner]
    total: int
    truncated: bool


class Way(BaseModel):
    release: str
    from_: Id = Field(alias="from")
    to: Id
    path: list[Id] | None
    truncated: bool


class Share(BaseModel):
    root_id: Id
    share: float = Field(description="of the neurite's supervoxels")


class Mapping(BaseModel):
    from_: str = Field(alias="from")
    to: str
    mapping: dict[Id, list[Share]]


class Task(BaseModel):
    id: str
    stage: str
    block: str
    run: str
    started: str


class Artifact(Row):
    digest: str
    kind: str
    name: str


class File(Row):
    tag: str
    path: str
    sha256: str


class Trace(Row):
    artifact: str
    direction: str
    artifacts: list[Artifact]
    tasks: list[Task]
    files: list[File]
    releases: list[str]


class Files(BaseModel):
    added: list[str]
    removed: list[str]
    changed: list[str]


class Diff(BaseModel):
    from_: str = Field(alias="from")
    to: str
    files: Files
    figures: dict[str, dict[str, float | None]]
    neurites: Row | None = Field(None, description="split, merged, renamed, unchanged: counts, and the first ones by name")
    edges: Row | None = Field(None, description="gained, lost, reweighted: counts, and the first ones by name")


class Cost(Row):
    tasks: int
    core_hours: float
    gpu_hours: float
    wall_s: float
    peak_memory_bytes: int
    bytes_in: int
    bytes_out: int


class StageCost(Cost):
    stage: str


class Costs(Cost):
    tag: str
    voxels: int
    core_hours_per_gvoxel: float | None
    stages: list[StageCost]


class Target(Row):
    name: str
    value: float | None
    met: bool | None


class ServiceLevels(BaseModel):
    whole: dict[str, float | None]
    releases: list[Row]
    targets: list[Target]
    error_budget: dict[str, float]
    met: float | None
    prices: dict[str, float]


class View(BaseModel):
    release: str
    state: Row = Field(description="of Neuroglancer")
    link: str


class Table(BaseModel):
    name: str
    bytes: int


class Tables(BaseModel):
    release: str
    tables: list[Table]


class Fovs(BaseModel):
    release: str
    fovs: list[str]


class Cell(BaseModel):
    cell: int
    frames: int
    first: int
    last: int


class Cells(Page):
    fov: str
    cells: list[Cell]


class Traces(Page):
    fov: str
    cell: int
    traces: list[Row]


class Operation(BaseModel):
    number: int
    version: int
    op: str = Field(description="merge, split, undo or redo")
    from_: Id | None = Field(None, alias="from")
    to: Id | None = None
    of: int | None = Field(None, description="number of the operation that is undone or done again")
    by: str
    reason: str
    time: str
    supervoxels: int


class LoggedOperation(Operation):
    undone: bool


class Edits(BaseModel):
    version: int = Field(description="what an edit must name as its base_version")
    edits: list[LoggedOperation]
    total: int
    truncated: bool
    next: str | None


class Held(BaseModel):
    version: int
    root_id: Id
    supervoxels: list[Id]
    total: int
    truncated: bool


class Cut(BaseModel):
    version: int
    root_id: Id
    take: list[Id]
    keep: int
    faces_cut: int
