process JOIN_SLABS {
    tag "${role}"
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    tuple path(plan, stageAs: 'plan.json'), path(stores, stageAs: 'slab?/*'), path(manifests, stageAs: 'slab?/*'), path(figures, stageAs: 'slab?/*')
    val flags

    output:
    tuple path("${role}.ome.zarr"), path("${role}.ome.zarr.manifest.json"), emit: volume
    path "published/tables/${role}.source.json", emit: facts
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    join_slabs.py ${flags} ${source ? "--source ${source}" : ''} --plan plan.json --role ${role} --stores slab*/${role}.ome.zarr --figures slab*/figures.json --output ${role}.ome.zarr --facts published/tables/${role}.source.json
    """

    stub:
    """
    stub.sh ${role}.ome.zarr/ ${role}.ome.zarr.manifest.json published/tables/${role}.source.json join_slabs.${role}.provenance.json
    """
}
