// Reads a small volume whole; of a large one it makes the plan by which READ_SLAB and JOIN_SLABS read it.
process INGEST {
    tag "${role}"
    label 'process_medium'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path like, stageAs: 'like.json'
    val flags

    output:
    tuple path("${role}.ome.zarr"), path("${role}.ome.zarr.manifest.json"), optional: true, emit: volume
    path "published/tables/${role}.source.json", optional: true, emit: facts
    tuple path('plan.json'), path('reads.txt'), optional: true, emit: plan
    path 'blocks.txt', emit: blocks
    path 'slabs.txt', emit: slabs
    path 'superblocks.txt', emit: superblocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    ingest.py ${flags} ${source ? "--source ${source}" : ''} ${like ? '--like like.json' : ''} --role ${role} --output ${role}.ome.zarr --facts published/tables/${role}.source.json --plan plan.json --read_list reads.txt --block_list blocks.txt --slab_list slabs.txt --superblock_list superblocks.txt
    """

    stub:
    """
    stub.sh ${role}.ome.zarr/ ${role}.ome.zarr.manifest.json published/tables/${role}.source.json blocks.txt=0-0 'slabs.txt=0-0 0-0' superblocks.txt=0-0 ingest.${role}.provenance.json
    """
}
