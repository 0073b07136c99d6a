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
    tuple path('plan.json'), path('reads.csv'), optional: true, emit: plan
    path 'blocks.csv', emit: blocks
    path 'slabs.csv', emit: slabs
    path 'superblocks.csv', emit: superblocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    ingest.py ${flags} ${source ? "--source ${source}" : ''} ${like ? '--like like.json' : ''} --role ${role} --output ${role}.ome.zarr --facts published/tables/${role}.source.json --plan plan.json --read_list reads.csv --block_list blocks.csv --slab_list slabs.csv --superblock_list superblocks.csv
    """

    stub:
    """
    stub.sh ${role}.ome.zarr/ ${role}.ome.zarr.manifest.json published/tables/${role}.source.json 'blocks.csv=id,block\\n0-0,0-0' 'slabs.csv=id,block,batch\\n0-0,0-0,0-0' 'superblocks.csv=id,block\\n0-0,0-0' ingest.${role}.provenance.json
    """
}
